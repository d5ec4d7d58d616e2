-- A check that is written down and not enforced, over rows that break it, MySQL.
CREATE TABLE checks_not_enforced (id int NOT NULL PRIMARY KEY, a int, CONSTRAINT positive CHECK (a > 0) NOT ENFORCED);
INSERT INTO checks_not_enforced VALUES (1, -1), (2, 1);
