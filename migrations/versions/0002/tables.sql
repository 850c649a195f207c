CREATE TABLE default_plan (
    is_only BOOLEAN NOT NULL,
    plan_key TEXT,
    CONSTRAINT pk_default_plan PRIMARY KEY (is_only),
    CONSTRAINT ck_default_plan_is_only CHECK (is_only)
);

