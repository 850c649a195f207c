-- An extension moves what is to come, however late it is.
ALTER TABLE dunning_cases ADD postponed_until timestamptz;
