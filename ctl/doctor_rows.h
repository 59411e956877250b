/*
 * What the rows of `banger doctor` share: what is known before the first of them, how a row says what it found, and what mends it here.
 * Rows change nothing, and none waits longer than DOCTOR_PATIENCE_MSEC for anybody.
 */
#ifndef BANGER_CTL_DOCTOR_ROWS_H
#define BANGER_CTL_DOCTOR_ROWS_H

#include "banger/helper_client.h"
#include "daemons.h"
#include "tree.h"

#define DOCTOR_PATIENCE_MSEC 1200

enum grade {
	GRADE_PASS,
	GRADE_WARN, /* a start works, or will once banger is up */
	GRADE_FAIL,
};

/* What a row found: the words, and what mends it. */
struct finding {
	enum grade grade;
	char *text, *mend; /* owned; NULL: none */
};

enum family {
	FAMILY_OTHER,
	FAMILY_DEBIAN,
	FAMILY_UBUNTU,
	FAMILY_FEDORA, /* and what is made of it: dnf */
	FAMILY_ARCH,
	FAMILY_NIXOS,
	FAMILY_COUNT,
};

struct doctor {
	struct ctl *c; /* c->fs is open when the tree answers */
	enum family family;
	bool root;        /* we are */
	bool insider;     /* root or the owner: may look into the owner's folders, and ask the helper */
	bool started;     /* something of a running instance is there */
	bool owner_known; /* OWNER */
	uid_t owner;
	char *owner_name; /* NULL: without an entry, or not known */
	char *run, *socket, *helper_dir, *fsd_dir, *state;
	struct helper *helper;
	int helper_code; /* of hello: 0 (HELLO holds), or -errno */
	char *helper_why;
	struct helper_hello hello;
	pid_t fsd; /* 0: none, or we may not know */
	bool mounted;
	enum tree_state tree;
};

struct row {
	const char *name; /* one word; what scripts look for */
	void (*check)(struct doctor *d, struct finding *f);
};

/* Tables of rows, ended by one without a name. */
extern const struct row doctor_rows_host[], doctor_rows_programs[], doctor_rows_daemons[],
	doctor_rows_rights[], doctor_rows_units[], doctor_rows_net[], doctor_rows_objects[];

/* All is well with what is told. Kept while nothing worse has been found. */
void found_good(struct finding *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/*
 * Something isn't. MEND (taken, freed; NULL: none) is the command for it. The worst grade stays; of several findings of one grade texts and
 * commands are joined.
 */
void found_bad(struct finding *f, enum grade grade, char *mend, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* What can't be known because banger is down, or by who asks. */
void found_unknown(struct doctor *d, struct finding *f);

/* Where there is no command. */
#define MEND_PAGE "docs/hosts.md"

/* What mends something, each the caller's to free (or found_bad()'s to take). */
enum package {
	PACKAGE_QEMU,
	PACKAGE_BUSYBOX,
	PACKAGE_UIDMAP,
	PACKAGE_MMDEBSTRAP,
	PACKAGE_DROPBEAR,
	PACKAGE_SFTP,
};
/* Text as it is. */
char *mend_text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A command of root's: with sudo, unless we are root. */
char *mend_as_root(const struct doctor *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* `banger up` for this instance and owner: starts what isn't there, makes anew what is missing. */
char *mend_up(const struct doctor *d);
/* Down, then up; of a service a restart, over which VMs run on. */
char *mend_restart(const struct doctor *d);
/* Installs PACKAGE on this distribution, or names our page; AGAIN: it is there, but broken. */
char *mend_package(const struct doctor *d, enum package package, bool again);

/* Which family /etc/os-release is of. */
enum family mend_family(void);

#endif
