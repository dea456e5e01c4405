// JSON schemas of partners for /openapi.json.
#pragma once

#include <string_view>

namespace sallyport::daemon {

inline constexpr std::string_view partner_schema = R"json({
"type": "object",
"required": ["name", "state", "emails", "allowedIps", "auth", "hasPassword", "policies", "created",
             "sshKeys", "pgpKeys"],
"properties": {
  "name": {"type": "string"}, "state": {"type": "string", "enum": ["ACTIVE", "SUSPENDED"]},
  "emails": {"type": "array", "items": {"type": "string"}},
  "allowedIps": {"type": "array", "items": {"type": "string"}},
  "auth": {"type": "string"}, "hasPassword": {"type": "boolean"},
  "policies": {"type": "object", "description": "What differs from the configuration's partner.*"},
  "created": {"type": "string", "format": "date-time"},
  "sshKeys": {"type": "array", "items": {"$ref": "#/components/schemas/SshKey"}},
  "pgpKeys": {"type": "array", "items": {"$ref": "#/components/schemas/PgpKey"}}}})json";

inline constexpr std::string_view partners_schema = R"json({
"type": "object",
"required": ["items"],
"properties": {"items": {"type": "array", "items": {"$ref": "#/components/schemas/Partner"}}}})json";

inline constexpr std::string_view partner_input_schema = R"json({
"type": "object",
"properties": {
  "name": {"type": "string", "description": "Of a new partner: it never changes"},
  "emails": {"type": "array", "items": {"type": "string"}},
  "allowedIps": {"type": "array", "items": {"type": "string"}},
  "auth": {"type": "string"}, "policies": {"type": "object"}}})json";

inline constexpr std::string_view ssh_key_schema = R"json({
"type": "object",
"required": ["id", "type", "fingerprint", "added"],
"properties": {
  "id": {"type": "string"}, "label": {"type": "string"}, "type": {"type": "string"},
  "fingerprint": {"type": "string"}, "added": {"type": "string", "format": "date-time"},
  "lastUsed": {"type": ["string", "null"], "format": "date-time"},
  "expires": {"type": ["string", "null"], "format": "date-time"}}})json";

inline constexpr std::string_view pgp_key_schema = R"json({
"type": "object",
"required": ["id", "fingerprint", "canSign", "canEncrypt", "revoked", "added"],
"properties": {
  "id": {"type": "string"}, "label": {"type": "string"}, "fingerprint": {"type": "string"},
  "canSign": {"type": "boolean"}, "canEncrypt": {"type": "boolean"}, "revoked": {"type": "boolean"},
  "added": {"type": "string", "format": "date-time"},
  "lastUsed": {"type": ["string", "null"], "format": "date-time"},
  "expires": {"type": ["string", "null"], "format": "date-time"}}})json";

inline constexpr std::string_view public_key_input_schema = R"json({
"type": "object",
"required": ["key"],
"properties": {
  "key": {"type": "string"}, "label": {"type": "string"},
  "expires": {"type": "string", "description": "2027-01-31, good through that day; a PGP key's own expiry if that is earlier"}}})json";

inline constexpr std::string_view password_input_schema = R"json({
"type": "object",
"properties": {"password": {"type": ["string", "null"], "description": "null removes it"}}})json";

}  // namespace sallyport::daemon
