// JSON schemas of files for /openapi.json.
#pragma once

#include <string_view>

namespace sallyport::daemon {

inline constexpr std::string_view file_schema = R"json({
"type": "object",
"required": ["id", "partner", "direction", "object", "name", "size", "state", "createdAt"],
"properties": {
  "id": {"type": "string"}, "partner": {"type": "string"},
  "direction": {"type": "string", "enum": ["inbound", "outbound"]},
  "object": {"type": "string"}, "name": {"type": "string"}, "size": {"type": "integer"},
  "sha256": {"type": ["string", "null"]}, "state": {"type": "string"},
  "createdAt": {"type": ["string", "null"], "format": "date-time"},
  "receivedAt": {"type": ["string", "null"], "format": "date-time"},
  "location": {"type": ["string", "null"]},
  "reasonCode": {"type": ["string", "null"]}, "reason": {"type": ["string", "null"]},
  "deliveredAs": {"type": ["string", "null"]}, "publishedAs": {"type": ["string", "null"]},
  "backupAt": {"type": ["string", "null"]}, "plainSha256": {"type": ["string", "null"]},
  "verdict": {"type": ["object", "null"], "description": "What decryption and the signatures said"},
  "uploader": {"type": ["object", "null"], "description": "Who sent it, with what key, from where"},
  "attempts": {"type": "integer"},
  "nextDueAt": {"type": ["string", "null"], "format": "date-time"},
  "history": {"type": "array", "description": "One file only", "items": {"type": "object",
    "properties": {"state": {"type": "string"}, "detail": {"type": "string"},
                   "at": {"type": ["string", "null"], "format": "date-time"}}}},
  "pending": {"type": "array", "description": "One file only", "items": {"type": "object",
    "properties": {"kind": {"type": "string"}, "attempts": {"type": "integer"},
                   "nextDueAt": {"type": ["string", "null"], "format": "date-time"},
                   "lastError": {"type": ["string", "null"]}}}}
}})json";

inline constexpr std::string_view files_schema = R"json({
"type": "object",
"required": ["items", "next"],
"properties": {
  "items": {"type": "array", "items": {"$ref": "#/components/schemas/File"}},
  "next": {"type": ["string", "null"], "description": "The value of after for the next page"}}})json";

}  // namespace sallyport::daemon
