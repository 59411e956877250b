/* What is known of images and kernels. */
#include <errno.h>
#include <stdint.h>
#include <time.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/name.h"
#include "banger/parse.h"
#include "image.h"
#include "show.h"
#include "tree.h"

#define FILE_MAX (16u << 20)

static const char *const files[] = {"ref", "digest", "platform", "arch", "size", "created", "kernel", NULL};
/* Of images; those of more than one value are lists. */
static const struct {
	const char *name;
	bool list;
} spec[] = {{"layers", true}, {"env", true}, {"entrypoint", true}, {"cmd", true}, {"workdir", false},
	{"user", false}, {"stop_signal", false}, {"ports", true}, {"labels", true}};

int image_absent(const char *kind, const char *name)
{
	return ctl_fail("there is no %.*s %s: banger %.*s ls lists them", (int)strlen(kind) - 1, kind, name,
		(int)strlen(kind) - 1, kind);
}

static void add_fields(struct ctl *c, json_object *to, const char *kind, const char *name)
{
	for (size_t k = 0; files[k]; k++) {
		_cleanup_free_ char *value = tree_read(c, "%s/%s/%s", kind, name, files[k]);

		json_object_object_add(to, files[k], show_json_value(value ? value : ""));
	}
}

static int list_json(struct ctl *c, const char *kind, char **names)
{
	json_object *all = json_object_new_array();

	for (size_t i = 0; names[i]; i++) {
		json_object *one = json_object_new_object();

		json_object_object_add(one, "name", json_object_new_string(names[i]));
		add_fields(c, one, kind, names[i]);
		json_object_array_add(all, one);
	}
	return show_json(all);
}

static const char *show_time(const char *seconds, char *buf, size_t n)
{
	struct tm tm;
	uint64_t v;
	time_t t;

	buf[0] = '\0';
	if (seconds && parse_u64(seconds, 0, INT64_MAX, &v) == 0) {
		t = (time_t)v;
		strftime(buf, n, "%Y-%m-%d %H:%M", localtime_r(&t, &tm));
	}
	return buf;
}

static int list_table(struct ctl *c, const char *kind, char **names)
{
	struct table *table = table_new((const char *const[]){"NAME", "SIZE", "CREATED", "REF", NULL});

	for (size_t i = 0; names[i]; i++) {
		_cleanup_free_ char *size = tree_read(c, "%s/%s/size", kind, names[i]),
				    *created = tree_read(c, "%s/%s/created", kind, names[i]),
				    *ref = tree_read(c, "%s/%s/ref", kind, names[i]),
				    *shown = ref ? tree_printable(ref) : NULL;
		char buf[32];
		uint64_t v;

		table_cell(table, names[i]);
		table_cell(table, size && parse_u64(size, 0, UINT64_MAX, &v) == 0 ? show_size(v, buf) : "");
		table_cell(table, show_time(created, buf, sizeof(buf)));
		table_cell(table, shown ? shown : "");
	}
	table_end(table);
	return EXIT_OK;
}

static int list(struct ctl *c, const char *kind, const char *command, int argc, char **argv)
{
	bool json = argc == 2 && strcmp(argv[1], "--json") == 0;
	char **names;
	int r;

	if (argc > 1 + json)
		return ctl_usage(ctl_command(command));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	names = tree_names(c, kind);
	if (!names)
		return ctl_fail("%s: %s", kind, strerror(errno));
	r = json ? list_json(c, kind, names) : list_table(c, kind, names);
	tree_free_names(names);
	return r;
}

int image_ls(struct ctl *c, int argc, char **argv)
{
	return list(c, "images", "image ls", argc, argv);
}

int kernel_ls(struct ctl *c, int argc, char **argv)
{
	return list(c, "kernels", "kernel ls", argc, argv);
}

static void print_value(const char *field, const char *value)
{
	_cleanup_free_ char *shown = tree_printable(value);

	if (shown && *shown)
		printf("%-12s %s\n", field, shown);
}

/* Each value of a file of several: ended by a NUL each where one of them holds a newline, else by that. */
static void each_value(struct ctl *c, const char *name, const char *field, json_object *to)
{
	_cleanup_free_ char *path = NULL, *text = NULL;
	size_t n = 0;
	char end;

	if (asprintf(&path, "images/%s/%s", name, field) < 0) {
		path = NULL;
		return;
	}
	if (io_read_file(c->fs, path, FILE_MAX, &text, &n, NULL) < 0)
		return;
	end = memchr(text, '\0', n) ? '\0' : '\n';
	for (size_t at = 0; at < n;) {
		char *stop = memchr(text + at, end, n - at);
		size_t length = stop ? (size_t)(stop - text) - at : n - at;

		if (stop)
			*stop = '\0';
		if (to)
			json_object_array_add(to, json_object_new_string_len(text + at, (int)length));
		else
			print_value(field, text + at);
		at += length + 1;
	}
}

static char **users_of(struct ctl *c, const char *name)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "images/%s/users", name) < 0) {
		path = NULL;
		return NULL;
	}
	return tree_names(c, path);
}

static int show_one_json(struct ctl *c, const char *name)
{
	json_object *one = json_object_new_object(), *users = json_object_new_array();
	char **names = users_of(c, name);

	json_object_object_add(one, "name", json_object_new_string(name));
	add_fields(c, one, "images", name);
	for (size_t i = 0; i < ELEMENTSOF(spec); i++)
		if (spec[i].list) {
			json_object *values = json_object_new_array();

			each_value(c, name, spec[i].name, values);
			json_object_object_add(one, spec[i].name, values);
		} else {
			_cleanup_free_ char *value = tree_read(c, "images/%s/%s", name, spec[i].name);

			/* A user's number is its name. */
			json_object_object_add(one, spec[i].name, json_object_new_string(value ? value : ""));
		}
	for (size_t i = 0; names && names[i]; i++)
		json_object_array_add(users, json_object_new_string(names[i]));
	tree_free_names(names);
	json_object_object_add(one, "users", users);
	return show_json(one);
}

static int show_one(struct ctl *c, const char *name)
{
	char **names = users_of(c, name);

	print_value("name", name);
	for (size_t k = 0; files[k]; k++) {
		_cleanup_free_ char *value = tree_read(c, "images/%s/%s", name, files[k]);
		char buf[32];
		uint64_t v;

		if (!value)
			continue;
		if (strcmp(files[k], "size") == 0 && parse_u64(value, 0, UINT64_MAX, &v) == 0)
			print_value(files[k], show_size(v, buf));
		else if (strcmp(files[k], "created") == 0)
			print_value(files[k], show_time(value, buf, sizeof(buf)));
		else
			print_value(files[k], value);
	}
	for (size_t i = 0; i < ELEMENTSOF(spec); i++)
		each_value(c, name, spec[i].name, NULL);
	for (size_t i = 0; names && names[i]; i++)
		print_value("users", names[i]);
	tree_free_names(names);
	return EXIT_OK;
}

int image_show(struct ctl *c, int argc, char **argv)
{
	bool json = argc > 1 && strcmp(argv[1], "--json") == 0;
	const char *name = argc == 2 + json ? argv[1 + json] : NULL;

	if (!name || *name == '-')
		return ctl_usage(ctl_command("image show"));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	if (!name_object_valid(name) || !tree_exists(c, "images/%s/ref", name))
		return image_absent("images", name);
	return json ? show_one_json(c, name) : show_one(c, name);
}

static bool listed(char *const *names, const char *name)
{
	for (; names && *names; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

static void say(struct ctl *c, const char *name)
{
	_cleanup_free_ char *digest = tree_read(c, "images/%s/digest", name);

	if (digest)
		printf("%s %s\n", name, digest);
}

void image_say_new(struct ctl *c, char *const *before)
{
	char **after = tree_names(c, "images");

	for (size_t i = 0; after && after[i]; i++)
		if (!listed(before, after[i]))
			say(c, after[i]);
	tree_free_names(after);
}

/* TEXT without WORD at its beginning, where it is there. */
static const char *without(const char *text, const char *word)
{
	size_t n = strlen(word);

	return strncmp(text, word, n) == 0 ? text + n : text;
}

/* How far REF goes without what every reference has that says nothing of it. */
static size_t bare(const char *ref)
{
	static const char latest[] = ":latest";
	size_t n = strlen(ref), k = sizeof(latest) - 1;

	return n > k && strcmp(ref + n - k, latest) == 0 ? n - k : n;
}

/* Whether REF, as somebody types it, is FULL, as the tree has it. */
static bool is_ref(const char *ref, const char *full)
{
	const char *digest = strchr(ref, '@'), *tag;
	_cleanup_free_ char *untagged = NULL;
	size_t n;

	/* The digest wins. */
	tag = digest ? memrchr(ref, ':', (size_t)(digest - ref)) : NULL;
	if (tag && !memchr(tag, '/', (size_t)(digest - tag))) {
		if (asprintf(&untagged, "%.*s%s", (int)(tag - ref), ref, digest) < 0) {
			untagged = NULL;
			return false;
		}
		ref = untagged;
	}
	ref = without(without(without(ref, "index.docker.io/"), "docker.io/"), "library/");
	full = without(without(full, "docker.io/"), "library/");
	n = bare(full);
	return n == bare(ref) && strncmp(ref, full, n) == 0;
}

void image_say_pulled(
	struct ctl *c, const char *ref, const char *platform, const char *name, char *const *before)
{
	char **names = name ? NULL : tree_names(c, "images");
	bool any = false;

	for (size_t i = 0; names && names[i]; i++) {
		_cleanup_free_ char *full = tree_read(c, "images/%s/ref", names[i]),
				    *its = tree_read(c, "images/%s/platform", names[i]);

		if (!full || !its || !is_ref(ref, full) ||
			(platform && strncmp(its, platform, strlen(platform)) != 0))
			continue;
		say(c, names[i]);
		any = true;
	}
	tree_free_names(names);
	if (name)
		say(c, name);
	else if (!any)
		image_say_new(c, before);
}

void image_say_pushed(struct ctl *c, const char *image)
{
	_cleanup_free_ char *pushed = NULL;
	char **names = tree_names(c, "images");
	const char *name = NULL;

	for (size_t i = 0; names && names[i] && !name; i++)
		if (strcmp(names[i], image) == 0)
			name = names[i];
	for (size_t i = 0; names && names[i] && !name; i++) {
		_cleanup_free_ char *full = tree_read(c, "images/%s/ref", names[i]);

		if (full && is_ref(image, full))
			name = names[i];
	}
	pushed = name ? tree_read(c, "images/%s/pushed", name) : NULL;
	if (pushed && *pushed)
		puts(pushed);
	tree_free_names(names);
}
