/* The section table of an ELF64 file is all that is read here: a library for that would be larger than the reader. */
#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "banger/cleanup.h"
#include "kernel/module.h"

struct module {
	LIST_ENTRY(module) link;
	char *name; /* with - as _ */
	void *data;
	size_t size;
	bool done, visiting;
};

struct modules {
	LIST_HEAD(, module) list;
};

static const struct {
	const char *name;
	bool required;
} wanted[] = {
	{"virtio_mmio", true},
	{"virtio_blk", true},
	{"virtio_console", true},
	{"overlay", true},
	{"virtio_net", true},
	{"virtio_rng", false},
	{"virtio_balloon", false},
	{"pvpanic", false},
	{"pvpanic_mmio", false},
	{"button", false},
	{"evdev", false},
	{MODULE_VSOCK, false},
	{"crc32c_intel", false},
};

int modules_new(struct modules **ret, struct err *e)
{
	struct modules *m = calloc(1, sizeof(*m));

	if (!m)
		return err_sys(e, -ENOMEM, "modules");
	LIST_INIT(&m->list);
	*ret = m;
	return 0;
}

struct modules *modules_free(struct modules *m)
{
	struct module *one;

	if (!m)
		return NULL;
	while ((one = LIST_FIRST(&m->list))) {
		LIST_REMOVE(one, link);
		free(one->name);
		free(one->data);
		free(one);
	}
	free(m);
	return NULL;
}

/* File names mix - and _ (facts on images 8.1). */
static void underscore(char *s)
{
	for (; *s; s++)
		if (*s == '-')
			*s = '_';
}

int modules_add(struct modules *m, const char *path, void *data, size_t n, struct err *e)
{
	const char *base = strrchr(path, '/');
	struct module *one = calloc(1, sizeof(*one));
	char *dot;

	base = base ? base + 1 : path;
	if (!one || !(one->name = strdup(base))) {
		free(one);
		free(data);
		return err_sys(e, -ENOMEM, "modules");
	}
	dot = strstr(one->name, ".ko");
	if (dot)
		*dot = '\0';
	underscore(one->name);
	one->data = data;
	one->size = n;
	LIST_INSERT_HEAD(&m->list, one, link);
	return 0;
}

static struct module *find(struct modules *m, const char *name)
{
	struct module *one;

	LIST_FOREACH (one, &m->list, link)
		if (strcmp(one->name, name) == 0)
			return one;
	return NULL;
}

/* Whether [AT, AT + SIZE) lies inside N bytes. */
static bool inside(uint64_t at, uint64_t size, size_t n)
{
	return at <= n && size <= n - at;
}

static int find_section(const uint8_t *data, size_t n, const char *name, Elf64_Shdr *ret)
{
	Elf64_Ehdr head;
	Elf64_Shdr names;

	if (n < sizeof(head))
		return -EBADMSG;
	memcpy(&head, data, sizeof(head));
	if (memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64 ||
		head.e_shentsize != sizeof(names) || head.e_shstrndx >= head.e_shnum ||
		!inside(head.e_shoff, (uint64_t)head.e_shnum * sizeof(names), n))
		return -EBADMSG;
	memcpy(&names, data + head.e_shoff + head.e_shstrndx * sizeof(names), sizeof(names));
	if (!inside(names.sh_offset, names.sh_size, n))
		return -EBADMSG;
	for (unsigned i = 0; i < head.e_shnum; i++) {
		Elf64_Shdr one;

		memcpy(&one, data + head.e_shoff + i * sizeof(one), sizeof(one));
		if (one.sh_name >= names.sh_size ||
			strncmp((const char *)data + names.sh_offset + one.sh_name, name,
				names.sh_size - one.sh_name) != 0)
			continue;
		if (one.sh_type == SHT_NOBITS || !inside(one.sh_offset, one.sh_size, n))
			return -EBADMSG;
		*ret = one;
		return 0;
	}
	return -EBADMSG;
}

int module_info(const void *data, size_t n, const char *key, char **ret)
{
	size_t length = strlen(key), at = 0;
	const char *text;
	Elf64_Shdr section;
	int r = find_section(data, n, ".modinfo", &section);

	if (r < 0)
		return r;
	text = (const char *)data + section.sh_offset;
	while (at < section.sh_size) {
		size_t size = strnlen(text + at, section.sh_size - at);

		if (size > length && text[at + length] == '=' && memcmp(text + at, key, length) == 0) {
			*ret = strndup(text + at + length + 1, size - length - 1);
			return *ret ? 0 : -ENOMEM;
		}
		at += size + 1;
	}
	*ret = strdup("");
	return *ret ? 0 : -ENOMEM;
}

struct visit {
	struct modules *m;
	const char *builtin;
	int (*fn)(void *user, const char *name, const void *data, size_t n, struct err *e);
	void *user;
};

static bool is_builtin(const char *text, const char *name)
{
	_cleanup_free_ char *copy = text ? strdup(text) : NULL;
	char *rest = copy, *line;

	while ((line = strsep(&rest, "\n"))) {
		char *base = strrchr(line, '/'), *dot;

		base = base ? base + 1 : line;
		dot = strstr(base, ".ko");
		if (dot)
			*dot = '\0';
		underscore(base);
		if (strcmp(base, name) == 0)
			return true;
	}
	return false;
}

/* What it depends on first. */
static int visit(struct visit *v, const char *name, bool required, struct err *e)
{
	struct module *one = find(v->m, name);
	_cleanup_free_ char *depends = NULL;
	char *rest, *other;
	int r;

	if (!one)
		return !required || is_builtin(v->builtin, name)
			       ? 0
			       : err_set(e, -ENOENT, "the kernel lacks the module %s", name);
	if (one->done)
		return 0;
	if (one->visiting)
		return err_set(e, -EBADMSG, "the modules depend on each other in a circle at %s", name);
	one->visiting = true;
	r = module_info(one->data, one->size, "depends", &depends);
	if (r < 0)
		return err_set(e, r, "module %s cannot be read", name);
	rest = depends;
	while ((other = strsep(&rest, ","))) {
		underscore(other);
		if (*other && (r = visit(v, other, true, e)) < 0)
			return r;
	}
	one->done = true;
	return v->fn(v->user, one->name, one->data, one->size, e);
}

int modules_each_wanted(struct modules *m, const char *builtin,
	int (*fn)(void *user, const char *name, const void *data, size_t n, struct err *e), void *user,
	struct err *e)
{
	struct visit v = {.m = m, .builtin = builtin, .fn = fn, .user = user};

	for (size_t i = 0; i < ELEMENTSOF(wanted); i++) {
		int r = visit(&v, wanted[i].name, wanted[i].required, e);

		if (r < 0)
			return r;
	}
	return 0;
}
