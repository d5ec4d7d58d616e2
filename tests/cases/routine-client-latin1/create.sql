-- A procedure made by a client of Latin 1, under a connection collation of its own.
SET NAMES latin1 COLLATE latin1_german1_ci;
CREATE PROCEDURE rl_go() SELECT 'x' AS y;
