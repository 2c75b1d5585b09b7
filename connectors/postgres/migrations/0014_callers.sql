-- Whoever asks why a call did not go through often knows no more than the number that it was made from. A fourth index of
-- the attempts: it takes about a tenth of the time that their rows take to write.
CREATE INDEX attempts_caller ON facts.attempts (caller, at) WHERE kind = 'call_attempt' AND caller IS NOT NULL;
