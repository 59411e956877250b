/* What listens in a guest, and what of it is on the host. */
#include <errno.h>
#include <stdio.h>

#include "banger/cleanup.h"
#include "ports.h"
#include "show.h"
#include "tree.h"
#include "vm.h"

#define AUTO_RANGE "1024-65535"
#define COLUMNS    7 /* of a line of `ports` */

char *ports_setting(const char *const *words, size_t n)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	fputs("publish=", out);
	for (size_t i = 0; i < n; i++) {
		const char *colon = strchr(words[i], ':');

		if (i > 0)
			putc('\n', out);
		if (strcmp(words[i], "auto") == 0)
			fputs("auto " AUTO_RANGE, out);
		else if (colon)
			fprintf(out, "%.*s %s", (int)(colon - words[i]), words[i], colon + 1);
		else
			fprintf(out, "%s %s", words[i], words[i]);
	}
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* Ports of the host that are open and lead to PORT, "-": none. The caller's. */
static char *host_ports(const char *published, const char *port)
{
	_cleanup_free_ char *copy = strdup(published);
	char *rest = copy, *line, *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	while ((line = strsep(&rest, "\n"))) {
		char *host = strsep(&line, " "), *guest = strsep(&line, " "), *state = strsep(&line, " ");

		if (state && strcmp(guest, port) == 0 && strcmp(state, "open") == 0)
			fprintf(out, "%s%s", ftell(out) > 0 ? "," : "", host);
	}
	if (ftell(out) == 0)
		putc('-', out);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* LINE is cut; false: it is none. */
static bool cut(char *line, char *words[COLUMNS])
{
	for (size_t i = 0; i < COLUMNS; i++) {
		words[i] = i + 1 < COLUMNS ? strsep(&line, " ") : line;
		if (!words[i])
			return false;
	}
	return true;
}

static void show_row(struct table *table, char *const words[COLUMNS], const char *host)
{
	for (size_t i = 0; i < COLUMNS; i++) {
		_cleanup_free_ char *safe = tree_printable(words[i]);

		/* The process's name is the command's, mostly. */
		if (i != 5)
			table_cell(table, safe ? safe : "");
		if (i == 3)
			table_cell(table, host);
	}
}

static void add_json(json_object *list, char *const words[COLUMNS], const char *host)
{
	static const char *const keys[COLUMNS] = {
		"port", "protocol", "address", "speaks", "pid", "comm", "command"};
	json_object *one = json_object_new_object();

	for (size_t i = 0; i < COLUMNS; i++)
		json_object_object_add(
			one, keys[i], strcmp(words[i], "-") == 0 ? NULL : show_json_value(words[i]));
	json_object_object_add(one, "host", strcmp(host, "-") == 0 ? NULL : show_json_value(host));
	json_object_array_add(list, one);
}

static int vm_ports(struct ctl *c, int argc, char **argv)
{
	bool json = argc == 3 && (strcmp(argv[1], "--json") == 0 || strcmp(argv[2], "--json") == 0);
	const char *name = argc == 3 && strcmp(argv[1], "--json") == 0 ? argv[2] : argv[1];
	_cleanup_free_ char *ports = NULL, *published = NULL;
	json_object *list = NULL;
	struct table *table = NULL;
	char *rest, *line;

	if (argc < 2 || argc > 2 + json)
		return ctl_usage(ctl_command("vm ports"));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	if (!vm_name_good(name))
		return EXIT_USAGE;
	ports = tree_read(c, "vms/%s/ports", name);
	if (!ports && errno == EBUSY)
		return ctl_fail("vm ports %s: its agent does not answer: banger vm show %s", name, name);
	if (!ports)
		return ctl_fail("vm ports %s: %s", name, strerror(errno));
	published = tree_read(c, "vms/%s/published", name);
	if (json)
		list = json_object_new_array();
	else
		table = table_new((const char *const[]){
			"PORT", "PROTOCOL", "ADDRESS", "SPEAKS", "HOST", "PID", "COMMAND", NULL});
	rest = ports;
	while ((line = strsep(&rest, "\n"))) {
		_cleanup_free_ char *host = NULL;
		char *words[COLUMNS];

		if (!cut(line, words) || !(host = host_ports(published ? published : "", words[0])))
			continue;
		if (json)
			add_json(list, words, host);
		else
			show_row(table, words, host);
	}
	if (json)
		return show_json(list);
	table_end(table);
	return EXIT_OK;
}

const struct command commands_ports[] = {
	{"vm ports", "NAME [--json]", "what listens in it, what that speaks, and where it is on the host",
		vm_ports},
	{NULL, NULL, NULL, NULL},
};
