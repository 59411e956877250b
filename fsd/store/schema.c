#include "banger/cleanup.h"
#include "store/schema.h"

const char *const store_schema[] = {
	/* AUTOINCREMENT: a number is never given out again, also after its row has gone. */
	"CREATE TABLE vm ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
	"  image TEXT NOT NULL, kernel TEXT NOT NULL, engine TEXT NOT NULL, storage TEXT NOT NULL,"
	"  vcpus INTEGER NOT NULL, memory INTEGER NOT NULL, disk INTEGER NOT NULL, nat INTEGER NOT NULL,"
	"  address_index INTEGER NOT NULL UNIQUE, created INTEGER NOT NULL, changed INTEGER NOT NULL,"
	"  state TEXT NOT NULL, error TEXT NOT NULL, boot_id TEXT NOT NULL, started INTEGER NOT NULL,"
	"  accel TEXT NOT NULL) STRICT;"
	"CREATE TABLE object ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, name TEXT NOT NULL, ref TEXT NOT NULL,"
	"  digest TEXT NOT NULL, arch TEXT NOT NULL, kernel TEXT NOT NULL, file TEXT NOT NULL,"
	"  size INTEGER NOT NULL, created INTEGER NOT NULL, UNIQUE (kind, name)) STRICT;"
	"CREATE TABLE config (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"
	"CREATE TABLE mode ("
	"  node INTEGER PRIMARY KEY, mode INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL) "
	"STRICT;"
	"CREATE TABLE counter (name TEXT PRIMARY KEY, next INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
	"INSERT INTO counter VALUES ('op', 1);",
	"ALTER TABLE object ADD COLUMN ref_digest TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE object ADD COLUMN platform TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE object ADD COLUMN layers TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE object ADD COLUMN config TEXT NOT NULL DEFAULT '';",
	"ALTER TABLE vm ADD COLUMN autostop INTEGER NOT NULL DEFAULT 0;",
	"ALTER TABLE vm ADD COLUMN disk_rate INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE vm ADD COLUMN disk_ops INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE vm ADD COLUMN net_rate INTEGER NOT NULL DEFAULT 0;",
	"ALTER TABLE vm ADD COLUMN publish TEXT NOT NULL DEFAULT '';",
};

const size_t store_schema_count = ELEMENTSOF(store_schema);
