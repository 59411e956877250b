#include <errno.h>
#include <mntent.h>
#include <pwd.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/place.h"
#include "doctor.h"
#include "doctor_rows.h"
#include "show.h"

static const struct row *const tables[] = {doctor_rows_programs, doctor_rows_host, doctor_rows_daemons,
	doctor_rows_rights, doctor_rows_units, doctor_rows_net, doctor_rows_objects};

static char *format(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));
static char *format(const char *fmt, va_list ap)
{
	char *text = NULL;

	return vasprintf(&text, fmt, ap) < 0 ? NULL : text;
}

/* "*TO SEPARATOR TEXT"; what is there already isn't said twice. */
static void join(char **to, const char *separator, const char *text)
{
	char *both = NULL;

	if (!text || (*to && strstr(*to, text)))
		return;
	if (asprintf(&both, "%s%s%s", *to ? *to : "", *to ? separator : "", text) < 0)
		return;
	free(*to);
	*to = both;
}

void found_good(struct finding *f, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	if (f->grade != GRADE_PASS)
		return;
	va_start(ap, fmt);
	text = format(fmt, ap);
	va_end(ap);
	join(&f->text, "; ", text);
}

void found_bad(struct finding *f, enum grade grade, char *mend, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL, *mine = mend;
	va_list ap;

	if (grade < f->grade)
		return;
	if (grade > f->grade) {
		free(f->text);
		free(f->mend);
		*f = (struct finding){.grade = grade};
	}
	va_start(ap, fmt);
	text = format(fmt, ap);
	va_end(ap);
	join(&f->text, "; ", text);
	join(&f->mend, " && ", mine);
}

void found_unknown(struct doctor *d, struct finding *f)
{
	if (!d->started)
		found_good(f, "banger is down");
	else if (!d->insider)
		found_bad(f, GRADE_WARN, mend_text("sudo banger doctor"),
			"not known: only the owner and root can see it");
	else
		found_bad(f, GRADE_WARN, mend_up(d), "not known while a part of banger doesn't run");
}

static bool is_mounted(const char *place)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent *m;
	bool found = false;

	while (mounts && !found && (m = getmntent(mounts)))
		found = strcmp(m->mnt_dir, place) == 0;
	if (mounts)
		endmntent(mounts);
	return found;
}

static void ask_helper(struct doctor *d)
{
	_cleanup_err_ struct err e = {0};

	d->helper_code = helper_new(d->socket, &d->helper, &e);
	if (d->helper_code == 0) {
		helper_set_patience(d->helper, DOCTOR_PATIENCE_MSEC / 2);
		d->helper_code = helper_hello(d->helper, &d->hello, &e);
	}
	if (d->helper_code < 0)
		d->helper_why = strdup(err_text(&e));
}

/* The helper's word; else whose the things of the instance are. */
static void find_owner(struct doctor *d)
{
	const char *const theirs[] = {d->fsd_dir, d->socket, d->state};
	struct passwd *p;
	struct stat st;

	if (d->helper_code == 0) {
		d->owner = d->hello.owner;
		d->owner_known = true;
	}
	for (size_t i = 0; i < ELEMENTSOF(theirs) && !d->owner_known; i++)
		if (lstat(theirs[i], &st) == 0 && st.st_uid != 0) {
			d->owner = st.st_uid;
			d->owner_known = true;
		}
	p = d->owner_known ? getpwuid(d->owner) : NULL;
	d->owner_name = p ? strdup(p->pw_name) : NULL;
}

static int doctor_open(struct ctl *c, struct doctor *d)
{
	_cleanup_err_ struct err e = {0};

	*d = (struct doctor){.c = c, .family = mend_family(), .root = geteuid() == 0, .tree = TREE_ABSENT};
	if (place_path(c->instance, PLACE_RUN, &d->run, &e) < 0 ||
		place_path(c->instance, PLACE_HELPER_SOCKET, &d->socket, &e) < 0 ||
		place_path(c->instance, PLACE_HELPER_DIR, &d->helper_dir, &e) < 0 ||
		place_path(c->instance, PLACE_FSD_DIR, &d->fsd_dir, &e) < 0 ||
		place_path(c->instance, PLACE_STATE, &d->state, &e) < 0)
		return ctl_fail("doctor: %s", err_text(&e));
	ask_helper(d);
	find_owner(d);
	d->insider = d->root || (d->owner_known && d->owner == geteuid());
	d->fsd = daemons_fsd(c);
	d->mounted = is_mounted(c->mount);
	d->started = d->helper_code == 0 || d->fsd || d->mounted || access(d->socket, F_OK) == 0;
	/* One that is known to be dead isn't waited for. */
	if (d->mounted)
		d->tree =
			d->insider && !d->fsd ? TREE_SILENT : tree_probe(c, "version", DOCTOR_PATIENCE_MSEC);
	/* One that was being killed as we looked has gone by now. */
	if (d->tree == TREE_SILENT)
		d->fsd = daemons_fsd(c);
	if (d->tree == TREE_ANSWERS && c->fs < 0 && !tree_open_root(c))
		d->tree = TREE_SILENT;
	return EXIT_OK;
}

static void doctor_close(struct doctor *d)
{
	helper_free(d->helper);
	free(d->helper_why);
	free(d->owner_name);
	free(d->run);
	free(d->socket);
	free(d->helper_dir);
	free(d->fsd_dir);
	free(d->state);
}

static void print_row(const char *name, const char *grade, const struct finding *f, json_object *all)
{
	/* What the tree, a log or another program has said may hold anything. */
	_cleanup_free_ char *text = tree_printable(f->text ? f->text : "");
	json_object *one;

	if (!all) {
		printf("%s  %-15s %s\n", grade, name, text ? text : "");
		if (f->mend)
			printf("      %-15s   to mend: %s\n", "", f->mend);
		return;
	}
	one = json_object_new_object();
	json_object_object_add(one, "row", json_object_new_string(name));
	json_object_object_add(one, "grade", json_object_new_string(grade));
	json_object_object_add(one, "found", json_object_new_string(text ? text : ""));
	json_object_object_add(one, "mend", json_object_new_string(f->mend ? f->mend : ""));
	json_object_array_add(all, one);
}

int doctor_run(struct ctl *c, bool json)
{
	static const char *const grades[] = {"PASS", "WARN", "FAIL"};
	_cleanup_(doctor_close) struct doctor d;
	json_object *all = NULL;
	int result = doctor_open(c, &d);

	if (result != EXIT_OK)
		return result;
	if (json)
		all = json_object_new_array();
	for (size_t i = 0; i < ELEMENTSOF(tables); i++)
		for (const struct row *row = tables[i]; row->name; row++) {
			struct finding f = {0};

			row->check(&d, &f);
			if (f.grade == GRADE_FAIL)
				result = EXIT_FAILED;
			print_row(row->name, grades[f.grade], &f, all);
			free(f.text);
			free(f.mend);
		}
	if (json)
		show_json(all);
	return result;
}
