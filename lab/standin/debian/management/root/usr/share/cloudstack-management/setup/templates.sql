-- The templates that a new cloud begins with belong to the upgrades of the management server.
USE `cloud`;
