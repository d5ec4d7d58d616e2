-- A routine made while its database had another default collation.
ALTER DATABASE cloud_usage DEFAULT CHARACTER SET latin1 COLLATE latin1_swedish_ci;
CREATE PROCEDURE cloud_usage.rc_go(a varchar(20)) SELECT a;
ALTER DATABASE cloud_usage DEFAULT CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci;
