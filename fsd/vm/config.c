/* The instance's settings, config/KEY: a row each, with default and check. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/name.h"
#include "banger/parse.h"
#include "engine/engine.h"
#include "net/dns.h"
#include "registry/hosts.h"
#include "registry/reference.h"
#include "repo/homefiles.h"
#include "vm/config.h"
#include "vm/disks.h"

static int number(const char *text, uint64_t min, uint64_t max, bool is_size, struct err *e)
{
	uint64_t v;
	int r = is_size ? parse_size(text, min, max, &v) : parse_u64(text, min, max, &v);

	if (r == -EINVAL)
		return err_set(e, r, "'%.64s' is no number%s", text,
			is_size ? " of bytes (K M G T may follow)" : "");
	return r < 0 ? err_set(e, r, "%" PRIu64 " to %" PRIu64, min, max) : 0;
}

static int check_name(const char *text, struct err *e)
{
	return name_object_valid(text) ? 0 : err_set(e, -EINVAL, "'%.64s' is no name", text);
}

/* The name of one, or where to pull it from. */
static int check_image(const char *text, struct err *e)
{
	_cleanup_(reference_freep) struct reference *ref = NULL;

	return name_object_valid(text) ? 0 : reference_parse(text, &ref, e);
}

static int check_vcpus(const char *text, struct err *e)
{
	return number(text, 1, 64, false, e);
}

static int check_memory(const char *text, struct err *e)
{
	return number(text, 64ull << 20, 1ull << 40, true, e);
}

static int check_cache(const char *text, struct err *e)
{
	return number(text, 0, 1ull << 50, true, e);
}

static int check_disk(const char *text, struct err *e)
{
	return number(text, 64ull << 20, 16ull << 40, true, e);
}

static int check_accel(const char *text, struct err *e)
{
	if (strcmp(text, "auto") == 0 || strcmp(text, "kvm") == 0 || strcmp(text, "tcg") == 0)
		return 0;
	return err_set(e, -EINVAL, "'%.64s' is none: auto, kvm or tcg", text);
}

static int check_storage(const char *text, struct err *e)
{
	return disks_check_word(text, e);
}

static int check_usec(const char *text, struct err *e)
{
	return number(text, 100000, 3600000000ull, false, e);
}

static int check_console(const char *text, struct err *e)
{
	return number(text, 4096, 64ull << 20, true, e);
}

static int check_dns(const char *text, struct err *e)
{
	uint32_t address;

	if (!*text || strcmp(text, "host") == 0 || parse_ipv4(text, &address) == 0)
		return 0;
	return err_set(
		e, -EINVAL, "'%.64s' is no address: a.b.c.d, or host for the host's own resolvers", text);
}

static int check_dns_listen(const char *text, struct err *e)
{
	uint32_t address;
	uint16_t port;

	return *text ? dns_place_parse(text, &address, &port, e) : 0;
}

static int check_engine(const char *text, struct err *e)
{
	if (strcmp(text, "auto") == 0 || engine_find(text))
		return 0;
	return err_set(e, -EINVAL, "'%.64s' is none: auto, firecracker or qemu", text);
}

const struct setting settings_table[] = {
	{"accel", "auto",
		"What runs guests: `kvm`, `tcg` (emulation), or `auto`: KVM once a guest has come up with it "
		"on this host.",
		check_accel},
	{"cache_max", "0",
		"Bytes that downloaded blobs may take: after a pull those that no image is made of go, the "
		"longest unused first, until it is less. `0`: `prune` alone says what goes.",
		check_cache},
	{"console_max", "1048576", "Bytes of each VM's console that are kept.", check_console},
	{"default_disk", "8589934592", "A new VM's `disk`.", check_disk},
	{"default_image", "busybox", "A new VM's `image`.", check_image},
	{"default_kernel", "debian", "A new VM's `kernel`.", check_name},
	{"default_memory", "268435456", "A new VM's `memory`.", check_memory},
	{"default_storage", "auto",
		"A new VM's `storage`: `dm`, `overlay`, or `auto`: dm where this host has it "
		"(`host/storage`).",
		check_storage},
	{"default_vcpus", "1", "A new VM's `vcpus`.", check_vcpus},
	{"dns", "host", "The resolver that guests are given: an address, or `host` for those of the host.",
		check_dns},
	{"dns_listen", "127.0.0.1:5354",
		"Where the host can ask for `NAME.vm`, by DNS: an address of 127.0.0.0/8 and a port. Empty: "
		"nowhere.",
		check_dns_listen},
	{"engine", "auto",
		"What runs VMs whose own `engine` is `auto`: `firecracker`, `qemu`, or `auto`: Firecracker "
		"where it and its jailer are there and a guest has come up in it, else QEMU.",
		check_engine},
	{"registry_insecure", "",
		"Registries that are asked by http, or by https whose certificate isn't verified: "
		"HOST[:PORT], blanks between. Those on loopback are asked by http anyway.",
		hosts_check_insecure},
	{"registry_mirrors", "",
		"`HOST=URL`, blanks between: where to look first for what is at registry HOST.",
		hosts_check_mirrors},
	{"start_timeout_usec", "60000000", "How long a guest's agent may take to answer at a start.",
		check_usec},
	{"stop_down_usec", "10000000", "How long a guest may take to shut down, once asked.", check_usec},
	{"stop_reach_usec", "5000000", "How long it may take to ask it.", check_usec},
	{"file_sync", "",
		"What guests have of the owner's home: lines of `HOST GUEST`, a file or folder of the home "
		"and where it is in the guest (`.vimrc ~/.vimrc`). At each start, and by `sync` to a VM's "
		"`ctl`; what has changed. Links below a folder are left out.",
		homefiles_check},
};
const size_t settings_count = ELEMENTSOF(settings_table);

bool setting_has_lines(const struct setting *s)
{
	return s->check == homefiles_check;
}

struct settings {
	char *values[ELEMENTSOF(settings_table)]; /* NULL: the default */
	uint64_t changed[ELEMENTSOF(settings_table)];
	uint64_t began;
	void (*watch)(void *user, const char *name, const char *value);
	void *user;
};

static size_t index_of(const char *name)
{
	size_t i = 0;

	while (i < settings_count && strcmp(settings_table[i].name, name) != 0)
		i++;
	return i;
}

static int take(void *user, const char *key, const char *value)
{
	struct settings *s = user;
	size_t i = index_of(key);

	/* Of another version, or no longer legal: the default holds. */
	if (i == settings_count || settings_table[i].check(value, NULL) < 0)
		return 0;
	free(s->values[i]);
	s->values[i] = strdup(value);
	return s->values[i] ? 0 : -ENOMEM;
}

int settings_new(struct store *store, struct settings **ret, struct err *e)
{
	struct settings *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_sys(e, -ENOMEM, "settings");
	s->began = io_wall_usec();
	r = store_config_each(store, take, s, e);
	if (r < 0) {
		settings_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

struct settings *settings_free(struct settings *s)
{
	for (size_t i = 0; s && i < settings_count; i++)
		free(s->values[i]);
	free(s);
	return NULL;
}

const char *settings_get(const struct settings *s, const char *name)
{
	size_t i = index_of(name);

	if (i == settings_count)
		return "";
	return s->values[i] ? s->values[i] : settings_table[i].value_default;
}

uint64_t settings_get_u64(const struct settings *s, const char *name)
{
	uint64_t v = 0;

	(void)parse_size(settings_get(s, name), 0, UINT64_MAX, &v);
	return v;
}

bool settings_get_bool(const struct settings *s, const char *name)
{
	return strcmp(settings_get(s, name), "1") == 0;
}

int settings_check(const char *name, const char *text, struct err *e)
{
	size_t i = index_of(name);
	int r;

	if (i == settings_count)
		return err_set(e, -ENOENT, "there is no setting %.64s: ls config", name);
	r = settings_table[i].check(text, e);
	if (r < 0)
		err_wrap(e, "%s", name);
	return r;
}

int settings_put(struct settings *s, const char *name, const char *text, struct err *e)
{
	size_t i = index_of(name);
	char *copy;
	int r = settings_check(name, text, e);

	if (r < 0)
		return r;
	copy = strdup(text);
	if (!copy)
		return err_sys(e, -ENOMEM, "%s", name);
	free(s->values[i]);
	s->values[i] = copy;
	s->changed[i] = io_wall_usec();
	if (s->watch)
		s->watch(s->user, name, copy);
	return 0;
}

void settings_watch(
	struct settings *s, void (*changed)(void *user, const char *name, const char *value), void *user)
{
	s->watch = changed;
	s->user = user;
}

uint64_t settings_changed(const struct settings *s, const char *name)
{
	size_t i = index_of(name);

	return i < settings_count && s->changed[i] ? s->changed[i] : s->began;
}
