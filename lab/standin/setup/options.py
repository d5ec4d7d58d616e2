"""The options of cloudstack-setup-databases."""

from __future__ import annotations

import optparse
from pathlib import Path

from ..shared.release import Version

USAGE = """%prog user:[password]@mysqlhost:[port] [--deploy-as=rootuser:[rootpassword]] [options]

    Writes the connection to the databases of the management and usage servers into db.properties. Nothing is
    connected to, and nothing is checked at the database, unless --deploy-as or --schema-only is given.

    With --deploy-as the databases are created anew, and what they held is lost."""

FORCE_RECREATE = Version("4.21.0.0")


def parser(version: Version, configuration: Path, share: Path, common: Path) -> optparse.OptionParser:
    """Return the parser for the options that this version knows.

    Args:
        version: the package's version; --force-recreate and -u came with 4.21.
        configuration: directory of db.properties.
        share: directory of the management server's program files.
        common: directory of the common program files.
    """
    options = optparse.OptionParser(usage=USAGE, prog="cloudstack-setup-databases")
    add = options.add_option
    add("-v", "--debug", action="store_true", dest="debug", default=False, help="Print the commands that are run")
    add(
        "-d",
        "--deploy-as",
        dest="rootcreds",
        default="",
        help="User and password, with a colon between, of an administrator of the MySQL server",
    )
    add(
        "-s",
        "--schema-only",
        action="store_true",
        dest="schemaonly",
        default=False,
        help="Create the tables only, in databases and with a user that exist already",
    )
    if version >= FORCE_RECREATE:
        add(
            "--force-recreate",
            action="store_true",
            dest="forcerecreate",
            default=False,
            help="Allow that databases which exist are dropped and created anew",
        )
    add("-a", "--auto", dest="serversetup", default=None, help="XML file of an unattended cloud setup")
    add(
        "-e",
        "--encrypt-type",
        dest="encryptiontype",
        default="file",
        help="Where the management server takes its secret key from: file, web or env",
    )
    add(
        "-m",
        "--managementserver-secretkey",
        dest="mgmtsecretkey",
        default="password",
        help="Secret key that encrypts the values in db.properties",
    )
    add("-k", "--database-secretkey", dest="dbsecretkey", default="password", help="Secret key that encrypts values in the database")
    add("-i", "--mshost", dest="mshostip", default="", help="Address of this management server")
    add("-r", "--regionid", dest="regionid", default="1", help="Region of this management server")
    add("-c", "--db-conf-path", dest="dbConfPath", default=str(configuration), help="Directory of db.properties")
    add("-f", "--db-files-path", dest="dbFilesPath", default=str(share / "setup"), help="Directory of the SQL files")
    add(
        "-j",
        "--encryption-jar-path",
        dest="encryptionJarPath",
        default=str(common / "lib/cloudstack-utils.jar"),
        help="The jar that encrypts",
    )
    add(
        "-n",
        "--encryption-key-file",
        dest="encryptionKeyFile",
        default=str(configuration / "key"),
        help="File that the management server's secret key is written to",
    )
    add("-g", "--encryptor-version", dest="encryptorVersion", default="V2", help="Encryptor version: V1 or V2")
    add("-b", "--mysql-bin-path", dest="mysqlbinpath", default="", help="Directory of the mysql client")
    if version >= FORCE_RECREATE:
        add(
            "-u",
            "--skip-users-auto-creation",
            action="store_true",
            dest="skipUsersAutoCreation",
            default=False,
            help="Don't create users in the database",
        )
    return options
