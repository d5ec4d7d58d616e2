DROP DATABASE IF EXISTS `cloud_usage`;
CREATE DATABASE `cloud_usage`;
GRANT ALL ON `cloud_usage`.* TO '@DBUSER@'@'localhost';
GRANT ALL ON `cloud_usage`.* TO '@DBUSER@'@'%';
