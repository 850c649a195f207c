-- An extension moves what is to come, however late it is.
ALTER TABLE dunning_cases ADD postponed_until timestamptz;
-- The end of a pause of all resumes the cases that it has paused, and no other.
ALTER TABLE dunning_cases ADD is_paused_with_all boolean NOT NULL DEFAULT false;
