"""An object store that speaks as much of S3 as a backup needs, and refuses what is not signed right.

The signature (AWS Signature Version 4) is checked as its specification says: canonical request from the
request line, query and headers as they came, string to sign, derived key; the body against its
x-amz-content-sha256, the date against the clock. It can be told to misbehave.
"""
import base64
import datetime
import hashlib
import hmac
import http.server
import re
import secrets
import threading
import urllib.parse
from xml.sax.saxutils import escape

ALGORITHM = "AWS4-HMAC-SHA256"


class Refused(Exception):
    def __init__(self, status, code, message):
        super().__init__(message)
        self.status, self.code = status, code


def encode(text):
    return urllib.parse.quote(text, safe="-_.~")


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class S3Store:
    """One bucket in memory, on a free port of the loopback interface."""

    def __init__(self, bucket="backup", access="AKIDEXAMPLE", secret="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", region="eu-test-1"):
        self.bucket, self.access, self.secret, self.region = bucket, access, secret, region
        self.objects, self.uploads, self.requests, self.refusals = {}, {}, [], []
        self.fail = []          # statuses for the next requests, None = serve it
        self.checksums = True   # whether it tells the SHA-256 that it computed itself
        self.corrupt = False    # whether it keeps something else than it got
        self.slow = threading.Event()  # it answers nothing before this is set
        self.slow.set()
        self.lock = threading.Lock()
        store = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                store.handle(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    # ------------------------------------------------------------------ the protocol
    def handle(self, request):
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        with self.lock:
            self.requests.append((request.command, request.path))
            failure = self.fail.pop(0) if self.fail else None
        self.slow.wait(60)
        headers = {}
        try:
            if failure:
                raise Refused(failure, "InternalError" if failure >= 500 else "SlowDown", "Told to fail")
            key, query = self.authenticate(request, body)
            status, headers, answer = self.serve(request.command, key, query, body)
        except Refused as refusal:
            with self.lock:
                self.refusals.append((refusal.code, str(refusal)))
            status = refusal.status
            answer = (f'<?xml version="1.0"?><Error><Code>{escape(refusal.code)}</Code>'
                      f"<Message>{escape(str(refusal))}</Message></Error>").encode()
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(answer)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(answer)

    def authenticate(self, request, body):
        path, _, raw_query = request.path.partition("?")
        query = urllib.parse.parse_qsl(raw_query, keep_blank_values=True)
        headers = {}
        for name, value in request.headers.items():
            headers[name.lower()] = " ".join(value.split())
        match = re.fullmatch(ALGORITHM + r" Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?SignedHeaders=([^,]+), ?"
                             r"Signature=([0-9a-f]{64})", headers.get("authorization", ""))
        if not match:
            raise Refused(403, "AccessDenied", "No signature that I understand")
        access, day, region, signed, signature = match.groups()
        date = headers.get("x-amz-date", "")
        names = signed.split(";")
        if access != self.access:
            raise Refused(403, "InvalidAccessKeyId", "I do not know this access key")
        if region != self.region:
            raise Refused(400, "AuthorizationHeaderMalformed", f"The region is {self.region}")
        if not re.fullmatch(day + r"T\d{6}Z", date):
            raise Refused(403, "AccessDenied", "x-amz-date is not of the credential's day")
        at = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
        if abs((datetime.datetime.now(datetime.timezone.utc) - at).total_seconds()) > 900:
            raise Refused(403, "RequestTimeTooSkewed", "The date is not now")
        if names != sorted(names) or not {"host", "x-amz-date", "x-amz-content-sha256"} <= set(names):
            raise Refused(403, "AccessDenied", "Headers that matter are not signed")
        unsigned = [n for n in headers if n.startswith("x-amz-") and n not in names]
        if unsigned:
            raise Refused(403, "AccessDenied", f"{unsigned} came unsigned")
        digest = hashlib.sha256(body).hexdigest()
        if headers["x-amz-content-sha256"] != digest:
            raise Refused(400, "XAmzContentSHA256Mismatch", "The body is not what was signed")
        canonical = "\n".join([
            request.command,
            "/".join(encode(part) for part in urllib.parse.unquote(path).split("/")),
            "&".join(f"{n}={v}" for n, v in sorted((encode(n), encode(v)) for n, v in query)),
            "".join(f"{n}:{headers[n]}\n" for n in names),
            signed, digest])
        scope = f"{day}/{region}/s3/aws4_request"
        to_sign = "\n".join([ALGORITHM, date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = mac(mac(mac(mac(("AWS4" + self.secret).encode(), day), region), "s3"), "aws4_request")
        if not hmac.compare_digest(mac(key, to_sign).hex(), signature):
            raise Refused(403, "SignatureDoesNotMatch", "The signature is not that of this request")
        return self.key_of(headers["host"], urllib.parse.unquote(path)), dict(query)

    def key_of(self, host, path):
        if host.startswith(self.bucket + "."):  # virtual-host style
            return path.lstrip("/")
        bucket, _, key = path.lstrip("/").partition("/")
        if bucket != self.bucket:
            raise Refused(404, "NoSuchBucket", "The specified bucket does not exist")
        return key

    def keep(self, body):
        return bytes([body[0] ^ 1]) + body[1:] if self.corrupt and body else body

    def serve(self, method, key, query, body):
        checksum = {"x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(body).digest()).decode()} if self.checksums else {}
        etag = '"' + hashlib.md5(body).hexdigest() + '"'
        with self.lock:
            if method == "PUT" and "uploadId" in query:
                parts = self.uploads.get(query["uploadId"])
                if parts is None:
                    raise Refused(404, "NoSuchUpload", "There is no such upload")
                parts[int(query["partNumber"])] = (etag, self.keep(body))
                return 200, {"ETag": etag, **checksum}, b""
            if method == "PUT":
                self.objects[key] = self.keep(body)
                return 200, {"ETag": etag, **checksum}, b""
            if method == "POST" and "uploads" in query:
                upload = secrets.token_hex(8)
                self.uploads[upload] = {}
                return 200, {}, f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>".encode()
            if method == "POST" and "uploadId" in query:
                return self.complete(key, query["uploadId"], body.decode())
            if method == "DELETE" and "uploadId" in query:
                self.uploads.pop(query["uploadId"], None)
                return 204, {}, b""
            if method == "DELETE":
                raise Refused(403, "AccessDenied", "This credential may not delete")
            if key not in self.objects:
                raise Refused(404, "NoSuchKey", "The specified key does not exist")
            return 200, {}, self.objects[key]

    def complete(self, key, upload, document):
        parts = self.uploads.get(upload)
        if parts is None:
            raise Refused(404, "NoSuchUpload", "There is no such upload")
        named = re.findall(r"<Part><PartNumber>(\d+)</PartNumber><ETag>(.*?)</ETag>", document)
        numbers = [int(n) for n, _ in named]
        if numbers != sorted(parts) or any(parts[int(n)][0] != t.replace("&quot;", '"') for n, t in named):
            raise Refused(400, "InvalidPart", "The parts named are not those that came")
        if any(len(parts[n][1]) < 5 << 20 for n in numbers[:-1]):
            raise Refused(400, "EntityTooSmall", "A part is less than 5 MiB")
        self.objects[key] = b"".join(parts[n][1] for n in numbers)
        del self.uploads[upload]
        return 200, {}, b"<CompleteMultipartUploadResult></CompleteMultipartUploadResult>"
