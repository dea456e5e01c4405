// Bouncy Castle as a program: make KIND | seal KIND OURS FORM COMPRESSION IN OUT | open KIND OURS IN OUT
import java.io.*;
import java.nio.file.*;
import java.security.*;
import java.util.*;
import org.bouncycastle.bcpg.*;
import org.bouncycastle.bcpg.sig.KeyFlags;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.openpgp.*;
import org.bouncycastle.openpgp.operator.jcajce.*;

public class BouncyCastle {
  static KeyPair pair(String algorithm, int bits) throws Exception {
    KeyPairGenerator generator = KeyPairGenerator.getInstance(algorithm, "BC");
    if (bits != 0) generator.initialize(bits);
    return generator.generateKeyPair();
  }

  static PGPSignatureSubpacketVector flags(int flags) {
    PGPSignatureSubpacketGenerator made = new PGPSignatureSubpacketGenerator();
    made.setKeyFlags(true, flags);
    made.setPreferredSymmetricAlgorithms(false, new int[] {SymmetricKeyAlgorithmTags.AES_256});
    made.setPreferredHashAlgorithms(false, new int[] {HashAlgorithmTags.SHA256});
    made.setFeature(false, (byte) 1);
    return made.generate();
  }

  static void make(String kind) throws Exception {
    Date now = new Date();
    boolean curve = kind.equals("curve25519");
    int bits = curve ? 0 : Integer.parseInt(kind.substring(3));
    PGPKeyPair primary = curve ? new JcaPGPKeyPair(PublicKeyAlgorithmTags.EDDSA, pair("Ed25519", 0), now)
                               : new JcaPGPKeyPair(PublicKeyAlgorithmTags.RSA_GENERAL, pair("RSA", bits), now);
    PGPKeyPair encryption = curve ? new JcaPGPKeyPair(PublicKeyAlgorithmTags.ECDH, pair("X25519", 0), now)
                                  : new JcaPGPKeyPair(PublicKeyAlgorithmTags.RSA_GENERAL, pair("RSA", bits), now);
    var sha1 = new JcaPGPDigestCalculatorProviderBuilder().build().get(HashAlgorithmTags.SHA1);
    PGPKeyRingGenerator ring = new PGPKeyRingGenerator(PGPSignature.POSITIVE_CERTIFICATION, primary, "Bouncy Castle <bc@example.org>", sha1,
        flags(KeyFlags.CERTIFY_OTHER | KeyFlags.SIGN_DATA), null,
        new JcaPGPContentSignerBuilder(primary.getPublicKey().getAlgorithm(), HashAlgorithmTags.SHA256).setProvider("BC"),
        null);
    ring.addSubKey(encryption, flags(KeyFlags.ENCRYPT_COMMS | KeyFlags.ENCRYPT_STORAGE), null);
    try (OutputStream out = new ArmoredOutputStream(new FileOutputStream(kind + ".key"))) {
      ring.generateSecretKeyRing().encode(out);
    }
    try (OutputStream out = new ArmoredOutputStream(new FileOutputStream(kind + ".cert"))) {
      ring.generatePublicKeyRing().encode(out);
    }
  }

  static PGPSecretKeyRing secrets(String kind) throws Exception {
    return new PGPSecretKeyRing(PGPUtil.getDecoderStream(new FileInputStream(kind + ".key")), new JcaKeyFingerprintCalculator());
  }

  static PGPPrivateKey unlock(PGPSecretKey key) throws Exception {
    return key.extractPrivateKey(new JcePBESecretKeyDecryptorBuilder().setProvider("BC").build(new char[0]));
  }

  static PGPPublicKeyRing certificate(String path) throws Exception {
    return new PGPPublicKeyRing(PGPUtil.getDecoderStream(new FileInputStream(path)), new JcaKeyFingerprintCalculator());
  }

  static PGPPublicKey encryptionKey(PGPPublicKeyRing ring) {
    PGPPublicKey found = null;
    for (PGPPublicKey key : ring) {
      if (key.isEncryptionKey() && (found == null || !key.isMasterKey())) found = key;
    }
    return found;
  }

  static void seal(String kind, String ours, String form, String compression, String input, String output) throws Exception {
    byte[] content = Files.readAllBytes(Path.of(input));
    OutputStream file = new FileOutputStream(output);
    OutputStream out = form.equals("armoured") ? new ArmoredOutputStream(file) : file;
    var encryptor = new PGPEncryptedDataGenerator(
        new JcePGPDataEncryptorBuilder(SymmetricKeyAlgorithmTags.AES_256).setWithIntegrityPacket(true).setProvider("BC"));
    encryptor.addMethod(new JcePublicKeyKeyEncryptionMethodGenerator(encryptionKey(certificate(ours))).setProvider("BC"));
    OutputStream encrypted = encryptor.open(out, new byte[1 << 12]);
    int algorithm = switch (compression) {
      case "zip" -> CompressionAlgorithmTags.ZIP;
      case "zlib" -> CompressionAlgorithmTags.ZLIB;
      case "bzip2" -> CompressionAlgorithmTags.BZIP2;
      default -> CompressionAlgorithmTags.UNCOMPRESSED;
    };
    var compressor = new PGPCompressedDataGenerator(algorithm);
    OutputStream compressed = algorithm == CompressionAlgorithmTags.UNCOMPRESSED ? encrypted : compressor.open(encrypted);
    PGPSecretKey signer = secrets(kind).getSecretKey();
    var signature = new PGPSignatureGenerator(
        new JcaPGPContentSignerBuilder(signer.getPublicKey().getAlgorithm(), HashAlgorithmTags.SHA256).setProvider("BC"));
    signature.init(PGPSignature.BINARY_DOCUMENT, unlock(signer));
    signature.generateOnePassVersion(false).encode(compressed);
    var literals = new PGPLiteralDataGenerator();
    OutputStream literal = literals.open(compressed, PGPLiteralData.BINARY, "content", content.length, new Date());
    literal.write(content);
    literals.close();
    signature.update(content);
    signature.generate().encode(compressed);
    compressor.close();
    encryptor.close();
    out.close();
    file.close();
  }

  static void open(String kind, String ours, String input, String output) throws Exception {
    var objects = new PGPObjectFactory(PGPUtil.getDecoderStream(new FileInputStream(input)), new JcaKeyFingerprintCalculator());
    PGPEncryptedDataList list = (PGPEncryptedDataList) objects.nextObject();
    PGPSecretKeyRing ring = secrets(kind);
    PGPPublicKeyEncryptedData data = null;
    PGPSecretKey key = null;
    for (Object one : list) {
      data = (PGPPublicKeyEncryptedData) one;
      key = ring.getSecretKey(data.getKeyID());
      if (key != null) break;
    }
    InputStream clear = data.getDataStream(new JcePublicKeyDataDecryptorFactoryBuilder().setProvider("BC").build(unlock(key)));
    var inner = new PGPObjectFactory(clear, new JcaKeyFingerprintCalculator());
    Object next = inner.nextObject();
    if (next instanceof PGPCompressedData compressed) {
      inner = new PGPObjectFactory(compressed.getDataStream(), new JcaKeyFingerprintCalculator());
      next = inner.nextObject();
    }
    PGPOnePassSignature onePass = ((PGPOnePassSignatureList) next).get(0);
    PGPPublicKey signer = certificate(ours).getPublicKey(onePass.getKeyID());
    onePass.init(new JcaPGPContentVerifierBuilderProvider().setProvider("BC"), signer);
    byte[] content = ((PGPLiteralData) inner.nextObject()).getInputStream().readAllBytes();
    onePass.update(content);
    PGPSignature signature = ((PGPSignatureList) inner.nextObject()).get(0);
    if (!onePass.verify(signature)) throw new Exception("the signature is bad");
    if (!data.isIntegrityProtected() || !data.verify()) throw new Exception("the message is damaged");
    Files.write(Path.of(output), content);
  }

  public static void main(String[] args) throws Exception {
    Security.addProvider(new BouncyCastleProvider());
    switch (args[0]) {
      case "make" -> make(args[1]);
      case "seal" -> seal(args[1], args[2], args[3], args[4], args[5], args[6]);
      case "open" -> open(args[1], args[2], args[3], args[4]);
      default -> throw new Exception("make, seal or open");
    }
  }
}
