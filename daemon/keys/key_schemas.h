// JSON schemas of keys for /openapi.json.
#pragma once

#include <string_view>

namespace sallyport::daemon {

inline constexpr std::string_view key_schema = R"json({
"type": "object",
"required": ["id", "displayName", "apiKeyTemplateId", "privacyLevel", "status", "enabled",
             "privileges", "createdDate", "activationDate"],
"properties": {
  "id": {"type": "string"}, "resourceId": {"type": "string"}, "organizationId": {"type": "string"},
  "displayName": {"type": "string"}, "description": {"type": "string"},
  "value": {"type": "string", "description": "Masked, but in the answer that creates it"},
  "apiKeyTemplateId": {"type": "string"},
  "privacyLevel": {"type": "string", "enum": ["PUBLIC", "PRIVATE"]},
  "status": {"type": "string", "enum": ["ENABLED", "SOON_TO_BE_EXPIRED", "SOON_TO_BE_DISABLED",
    "DISABLED", "DISABLED_FOR_INACTIVITY", "DISABLED_EXPOSED", "EXPIRED", "REVOKED"]},
  "enabled": {"type": "boolean"},
  "privileges": {"type": "array", "items": {"type": "object", "required": ["owner", "targetDomain"],
    "properties": {"owner": {"type": "string"}, "targetDomain": {"type": "string"},
                   "type": {"type": "string"}, "targetId": {"type": "string"}}}},
  "permissionsEnabled": {"type": "boolean"},
  "permissions": {"type": "array", "items": {"type": "object", "required": ["object", "action"],
    "properties": {"object": {"type": "string"}, "action": {"type": "string"}}}},
  "allowedIps": {"type": "array", "items": {"type": "string"}},
  "deniedIps": {"type": "array", "items": {"type": "string"}},
  "additionalConfiguration": {"type": "object"},
  "contact": {"type": "object", "properties": {"firstName": {"type": "string"},
    "lastName": {"type": "string"}, "email": {"type": "string"}}},
  "groupsThatCanEdit": {"type": "array", "items": {"type": "object"}},
  "groupsThatCanView": {"type": "array", "items": {"type": "object"}},
  "createdBy": {"type": "string"}, "duplicatedFrom": {"type": "string"},
  "createdDate": {"type": "integer"}, "activationDate": {"type": "integer"},
  "extensionDate": {"type": "integer"}, "disabledDate": {"type": "integer"},
  "expirationDate": {"type": "integer"}, "lastUsedDate": {"type": "integer"},
  "lastAllowedDate": {"type": "integer"},
  "exposureReport": {"type": "object", "properties": {"apiKeyLoggerId": {"type": "string"},
    "severity": {"type": "string"}, "reasons": {"type": "array", "items": {"type": "object"}},
    "deactivationDate": {"type": "integer"}, "creationType": {"type": "string"},
    "createdBy": {"type": "string"}, "createdDate": {"type": "integer"}}}
}})json";

inline constexpr std::string_view key_input_schema = R"json({
"type": "object",
"properties": {
  "displayName": {"type": "string", "minLength": 1, "maxLength": 125},
  "description": {"type": "string", "maxLength": 1000},
  "apiKeyTemplateId": {"type": "string"},
  "privileges": {"type": "array", "items": {"type": "object", "required": ["owner", "targetDomain"],
    "properties": {"owner": {"type": "string"}, "targetDomain": {"type": "string"},
                   "type": {"type": "string"}, "targetId": {"type": "string"}}}},
  "permissionsEnabled": {"type": "boolean"},
  "permissions": {"type": "array", "items": {"type": "object", "required": ["object", "action"],
    "properties": {"object": {"type": "string"}, "action": {"type": "string"}}}},
  "allowedIps": {"type": "array", "items": {"type": "string"}},
  "deniedIps": {"type": "array", "items": {"type": "string"}},
  "additionalConfiguration": {"type": "object"},
  "contact": {"type": "object", "properties": {"firstName": {"type": "string"},
    "lastName": {"type": "string"}, "login": {"type": "string"}, "email": {"type": "string"}}},
  "groupsThatCanEdit": {"type": "array", "items": {}},
  "groupsThatCanView": {"type": "array", "items": {}},
  "lifetimeDuration": {"type": ["string", "null"]},
  "expirationDate": {"type": ["integer", "string", "null"]}
}})json";

inline constexpr std::string_view template_schema = R"json({
"type": "object",
"required": ["id", "displayName", "privacyLevel", "privileges"],
"properties": {
  "id": {"type": "string"}, "displayName": {"type": "string"}, "description": {"type": "string"},
  "privacyLevel": {"type": "string", "enum": ["PUBLIC", "PRIVATE"]},
  "privileges": {"type": "array", "items": {"type": "object"}},
  "choosePrivileges": {"type": "boolean"},
  "forbiddenPrivileges": {"type": "array", "items": {"type": "object"}},
  "searchHub": {"type": "boolean"}, "offersIps": {"type": "boolean"},
  "contact": {"type": "boolean"}, "permissions": {"type": "boolean"},
  "expires": {"type": "boolean"}, "defaultLifetimeDuration": {"type": "string"},
  "offeredLifetimeDurations": {"type": "array", "items": {"type": "string"}},
  "allowedIps": {"type": "array", "items": {"type": "string"}},
  "deniedIps": {"type": "array", "items": {"type": "string"}}
}})json";

inline constexpr std::string_view eligibility_schema = R"json({
"type": "object",
"required": ["id", "missingPrivileges", "canGenerate"],
"properties": {"id": {"type": "string"}, "canGenerate": {"type": "boolean"},
  "missingPrivileges": {"type": "array", "items": {"type": "object"}}}})json";

inline constexpr std::string_view exposure_input_schema = R"json({
"type": "object",
"required": ["severity", "reason"],
"properties": {
  "id": {"type": "string"}, "value": {"type": "string"}, "sha256": {"type": "string"},
  "severity": {"type": "string", "enum": ["CRITICAL", "HIGH", "MEDIUM", "LOW", "WARN"]},
  "source": {"type": "string", "enum": ["MANUAL", "GITHUB", "GITLAB", "API"]},
  "reason": {"type": "string", "maxLength": 1000}, "url": {"type": "string"},
  "suspiciousActivity": {"type": "boolean"}}})json";

inline constexpr std::string_view exposure_outcome_schema = R"json({
"type": "object",
"required": ["outcome", "apiKey"],
"properties": {
  "outcome": {"type": "string",
              "enum": ["FLAGGED", "ADDED", "RECORDED", "REPEATED", "NOT_APPLIED"]},
  "apiKey": {"type": "object"}}})json";

inline constexpr std::string_view ids_schema =
    R"json({"type": "array", "items": {"type": "string"}})json";

}  // namespace sallyport::daemon
