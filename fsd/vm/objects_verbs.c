/* What is written to images/ctl and kernels/ctl, and what a start asks for. */
#include <errno.h>
#include <inttypes.h>

#include "banger/cleanup.h"
#include "banger/name.h"
#include "registry/credentials.h"
#include "registry/reference.h"
#include "vm/config.h"
#include "vm/objects_model.h"

#define NAME_TRIES 100

/* The other files in images/ and kernels/: of two of one name only one could be reached. */
static bool is_reserved(const struct objects *o, const char *name)
{
	return strcmp(name, "ctl") == 0 || (o->kind == OBJECTS_IMAGES && strcmp(name, "logins") == 0);
}

int objects_make_new(struct objects *o, const char *name, const struct make *what, objects_done_fn done,
	void *user, struct objects_waiter **ret, struct err *e)
{
	if (!name_object_valid(name))
		return err_set(e, -EINVAL,
			"'%.64s' is no name: 1 to %d of A-Z a-z 0-9 _ . -, a letter or digit first", name,
			NAME_VM_MAX);
	if (is_reserved(o, name))
		return err_set(
			e, -EINVAL, "%ss/%s is a file of its own: take another name", o->kind_name, name);
	if (objects_by_name(o, name))
		return err_set(e, -EEXIST, "there is %s %s %s already: delete it first, or take another name",
			objects_article(o), o->kind_name, name);
	return making_join(o, name, what, 0, done, user, ret, e);
}

/* A name for what REF leads to: its last part; with the tag, with a number, where that is another's. */
static int choose_name(const struct objects *o, const struct reference *ref, const struct make *what,
	char **ret, struct err *e)
{
	_cleanup_free_ char *base = NULL, *tagged = NULL;
	int r = reference_name(ref, &base, e);

	if (r < 0)
		return r;
	if (ref->tag ? asprintf(&tagged, "%s-%.24s", base, ref->tag) < 0
		     : asprintf(&tagged, "%s-%.12s", base, strchr(ref->digest, ':') + 1) < 0) {
		tagged = NULL;
		return err_sys(e, -ENOMEM, "%s", base);
	}
	for (unsigned i = 0; i < NAME_TRIES; i++) {
		_cleanup_free_ char *name = NULL;
		const struct making *m;

		if ((i < 2 ? asprintf(&name, "%s", i == 0 ? base : tagged)
			   : asprintf(&name, "%s-%u", tagged, i)) < 0) {
			name = NULL;
			return err_sys(e, -ENOMEM, "%s", base);
		}
		m = making_of(o, name);
		if (objects_by_name(o, name) || !name_object_valid(name) || is_reserved(o, name) ||
			(m && (m->what.what != MAKE_PULL || strcmp(m->what.source, what->source) != 0 ||
				      strcmp(m->what.platform, what->platform) != 0)))
			continue;
		*ret = TAKE_PTR(name);
		return 0;
	}
	return err_set(e, -EEXIST, "all names for it are taken: say `as NAME`");
}

int objects_pull(struct objects *o, const char *text, const char *platform, const char *name,
	objects_done_fn done, void *user, struct objects_waiter **ret, struct err *e)
{
	_cleanup_(reference_freep) struct reference *ref = NULL;
	_cleanup_free_ char *full = NULL, *chosen = NULL;
	const struct object *there;
	struct make what = {.kind = o->kind,
		.what = MAKE_PULL,
		.registry = o->sources.registry,
		.home = o->sources.places->home};
	int r = reference_parse(text, &ref, e);

	if (r == 0)
		r = reference_text(ref, &full, e);
	if (r < 0)
		return r;
	what.source = full;
	what.platform = (char *)platform;
	what.insecure = (char *)settings_get(o->sources.settings, "registry_insecure");
	what.mirrors = (char *)settings_get(o->sources.settings, "registry_mirrors");
	there = name ? objects_by_name(o, name) : objects_by_ref(o, full, platform);
	if (there && !there->deleting && strcmp(there->row.ref, full) == 0) {
		what.have_digest = there->row.ref_digest;
		return making_join(o, there->row.name, &what, there->row.id, done, user, ret, e);
	}
	if (!name) {
		r = choose_name(o, ref, &what, &chosen, e);
		if (r < 0)
			return r;
		name = chosen;
	}
	return objects_make_new(o, name, &what, done, user, ret, e);
}

int objects_ensure(struct objects *o, const char *text, objects_done_fn done, void *user,
	struct objects_waiter **ret, struct err *e)
{
	struct make what = {.kind = o->kind};

	*ret = NULL;
	if (objects_meant(o, text)) {
		done(user, 0, NULL);
		return 0;
	}
	if (o->kind == OBJECTS_IMAGES && strcmp(text, "busybox") == 0) {
		what.what = MAKE_BUSYBOX;
		return objects_make_new(o, text, &what, done, user, ret, e);
	}
	if (o->kind == OBJECTS_KERNELS && strcmp(text, "debian") == 0) {
		what.what = MAKE_PULL;
		return objects_make_new(o, text, &what, done, user, ret, e);
	}
	if (o->kind == OBJECTS_IMAGES) {
		const struct making *m = making_of(o, text);

		/* Of that name one is being made, however: it is the one that is meant. */
		return m ? making_join(o, text, &m->what, 0, done, user, ret, e)
			 : objects_pull(o, text, "", NULL, done, user, ret, e);
	}
	return err_set(e, -ENOENT, "there is no %s %s: ls %ss", o->kind_name, text, o->kind_name);
}

/* The verbs. NAME is taken off by ` as NAME`. */
static const struct verb {
	enum objects_kind kind;
	const char *verb, *word; /* the word that must follow, or NULL */
	enum make_what what;
	bool has_source;  /* the next word is the source */
	const char *name; /* when none is given; NULL: it must be, or is chosen */
	const char *usage;
} verbs[] = {
	{OBJECTS_IMAGES, "pull", NULL, MAKE_PULL, true, NULL, "pull REF [platform OS/ARCH] [as NAME]\n"},
	{OBJECTS_IMAGES, "push", NULL, MAKE_PUSH, true, NULL, "push NAME as REF\n"},
	{OBJECTS_IMAGES, "import", NULL, MAKE_IMPORT, true, NULL,
		"import PATH [tag TAG] [platform OS/ARCH] [ref TEXT] [as NAME]\n"},
	{OBJECTS_IMAGES, "register", NULL, MAKE_REGISTER, true, NULL, "register PATH [as NAME]\n"},
	{OBJECTS_IMAGES, "build", "debian", MAKE_DEBIAN, false, "debian", "build debian [as NAME]\n"},
	{OBJECTS_IMAGES, "build", "busybox", MAKE_BUSYBOX, false, "busybox", "build busybox [as NAME]\n"},
	{OBJECTS_KERNELS, "pull", NULL, MAKE_PULL, false, "debian", "pull [as NAME]\n"},
	{OBJECTS_KERNELS, "import", NULL, MAKE_IMPORT, true, NULL, "import PATH [as NAME]\n"},
};

/* Takes " WORD VALUE" off the end of REST, blanks are legal in a path; NULL: it isn't there. */
static char *split_off(char *rest, const char *word)
{
	size_t n = strlen(word);
	char *at = rest, *last = NULL;

	while ((at = strstr(at, word))) {
		last = at;
		at += n;
	}
	if (strncmp(rest, word + 1, n - 1) == 0 && !last) {
		char *value = rest + n - 1;

		memmove(rest, value, strlen(value) + 1);
		/* VALUE at the front, what came before it is empty. */
		return rest;
	}
	if (!last)
		return NULL;
	*last = '\0';
	return last + n;
}

static int wanted(const struct verb *v, struct err *e)
{
	return err_set(e, -EINVAL, "wanted: %.*s", (int)strcspn(v->usage, "\n"), v->usage);
}

static int run_pull(struct objects *o, const struct verb *v, char *at, objects_done_fn done, void *user,
	struct objects_waiter **ret, struct err *e)
{
	char *name = at ? split_off(at, " as ") : NULL;
	char *platform = at && name != at ? split_off(at, " platform ") : NULL;

	if (!at || !*at || name == at || platform == at)
		return wanted(v, e);
	return objects_pull(o, at, platform ? platform : "", name, done, user, ret, e);
}

/* What PATH is called: its last part, as far as a name may go and a file's ending doesn't begin. The caller's. */
static char *name_of_path(const char *path)
{
	size_t end = strlen(path), n;
	const char *base;

	while (end > 1 && path[end - 1] == '/')
		end--;
	base = memrchr(path, '/', end);
	base = base ? base + 1 : path;
	n = strcspn(base, "._/");
	return strndup(base, n < NAME_VM_MAX ? n : NAME_VM_MAX);
}

static int run_import(struct objects *o, const struct verb *v, char *at, objects_done_fn done, void *user,
	struct objects_waiter **ret, struct err *e)
{
	struct make what = {.kind = v->kind, .what = v->what, .source = at};
	/* From the last to the first, as they are written. */
	const struct {
		const char *word;
		char **value;
	} options[] = {{" ref ", &what.ref}, {" platform ", &what.platform}, {" tag ", &what.tag}};
	bool images = v->kind == OBJECTS_IMAGES && v->what == MAKE_IMPORT;
	char *name = at ? split_off(at, " as ") : NULL;
	_cleanup_free_ char *chosen = NULL;

	for (size_t i = 0; images && at && name != at && i < ELEMENTSOF(options); i++) {
		*options[i].value = split_off(at, options[i].word);
		if (*options[i].value == at)
			return wanted(v, e);
	}
	if (!at || !*at || name == at)
		return wanted(v, e);
	if (!name) {
		name = chosen = name_of_path(at);
		if (!name)
			return err_sys(e, -ENOMEM, "import");
		if (!name_object_valid(name))
			return err_set(e, -EINVAL, "no name can be made of %.200s: say `as NAME`", at);
	}
	return objects_make_new(o, name, &what, done, user, ret, e);
}

static int run(struct objects *o, const struct verb *v, char *at, objects_done_fn done, void *user,
	struct objects_waiter **ret, struct err *e)
{
	struct make what = {.kind = v->kind, .what = v->what};
	char *name;

	if (v->kind == OBJECTS_IMAGES && v->what == MAKE_PULL)
		return run_pull(o, v, at, done, user, ret, e);
	if (v->what == MAKE_IMPORT || v->what == MAKE_REGISTER)
		return run_import(o, v, at, done, user, ret, e);
	name = at ? split_off(at, " as ") : NULL;
	if (v->has_source)
		what.source = at;
	else if (at && name != at)
		return wanted(v, e);
	if (!name)
		name = (char *)v->name;
	if (!name || (v->has_source && (!what.source || !*what.source)))
		return wanted(v, e);
	if (v->what == MAKE_PUSH)
		return objects_push(o, what.source, name, done, user, ret, e);
	return objects_make_new(o, name, &what, done, user, ret, e);
}

int objects_verb(struct objects *o, const char *line, objects_done_fn done, void *user,
	struct objects_waiter **ret, struct err *e)
{
	_cleanup_free_ char *copy = strdup(line);
	const struct verb *near = NULL; /* of a word that wasn't there */
	char *rest = copy, *verb;

	if (!copy)
		return err_sys(e, -ENOMEM, "%s", o->kind_name);
	verb = strsep(&rest, " ");
	for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
		const struct verb *v = &verbs[i];
		char *at = rest;

		if (v->kind != o->kind || strcmp(verb, v->verb) != 0)
			continue;
		if (v->word) {
			size_t n = strlen(v->word);

			near = v;
			if (!at || strncmp(at, v->word, n) != 0 || (at[n] && at[n] != ' '))
				continue;
			at = at[n] ? at + n + 1 : NULL;
		}
		return run(o, v, at, done, user, ret, e);
	}
	if (near)
		return err_set(e, -EINVAL, "wanted: %s debian or %s busybox", near->verb, near->verb);
	return err_set(e, -EINVAL, "'%.64s' is no verb for %ss: cat %ss/ctl lists them", line, o->kind_name,
		o->kind_name);
}

void objects_verbs(const struct objects *o, FILE *out)
{
	for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
		if (verbs[i].kind == o->kind)
			fputs(verbs[i].usage, out);
}
