-- How long after it happened a use may still be recorded (docs/rules/usage.md).
CREATE OR REPLACE FUNCTION usage_late_limit() RETURNS interval
LANGUAGE sql IMMUTABLE AS 'SELECT interval ''35 days''';
