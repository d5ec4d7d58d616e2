"""The databases brought over as files: mariadb-backup reads them on the original, and the new servers take each table's file in as it is."""
