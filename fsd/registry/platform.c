#include "registry/manifest.h"

#include <sys/utsname.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "banger/parse.h"

/* The names that machines and people have for what Go calls otherwise; the table of containerd's platforms. */
static const struct {
	const char *name, *arch, *variant;
} aliases[] = {
	{"x86_64", "amd64", ""},
	{"x86-64", "amd64", ""},
	{"aarch64", "arm64", "v8"},
	{"i386", "386", ""},
	{"i486", "386", ""},
	{"i586", "386", ""},
	{"i686", "386", ""},
	{"armhf", "arm", "v7"},
	{"armel", "arm", "v6"},
	{"armv5l", "arm", "v5"},
	{"armv5tel", "arm", "v5"},
	{"armv5tejl", "arm", "v5"},
	{"armv6l", "arm", "v6"},
	{"armv7l", "arm", "v7"},
	{"armv8l", "arm", "v8"},
	{"loongarch64", "loong64", ""},
};

void platform_clear(struct platform *p)
{
	free(p->os);
	free(p->arch);
	free(p->variant);
	*p = (struct platform){0};
}

static int set(struct platform *p, const char *os, const char *arch, const char *variant, struct err *e)
{
	struct platform made = {.os = strdup(os), .arch = strdup(arch), .variant = strdup(variant)};

	if (!made.os || !made.arch || !made.variant) {
		platform_clear(&made);
		return err_set(e, -ENOMEM, "out of memory");
	}
	*p = made;
	return 0;
}

#ifdef __x86_64__
/* The levels of the x86-64 psABI, 3.1.1. What the kernel doesn't keep the registers of isn't there: the builtin knows that. */
static const char *machine_variant(void)
{
	unsigned a, b, c, d, leaf1 = 0, extended = 0;

	if (__get_cpuid(1, &a, &b, &c, &d))
		leaf1 = c;
	if (__get_cpuid(0x80000001, &a, &b, &c, &d))
		extended = c;
	__builtin_cpu_init();
	if (!(leaf1 & bit_CMPXCHG16B) || !(extended & bit_LAHF_LM) || !__builtin_cpu_supports("sse4.2") ||
		!__builtin_cpu_supports("ssse3") || !__builtin_cpu_supports("popcnt"))
		return "";
	if (!(leaf1 & bit_F16C) || !(leaf1 & bit_MOVBE) || !(extended & bit_LZCNT) ||
		!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi") ||
		!__builtin_cpu_supports("bmi2") || !__builtin_cpu_supports("fma"))
		return "v2";
	if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
		!__builtin_cpu_supports("avx512cd") || !__builtin_cpu_supports("avx512dq") ||
		!__builtin_cpu_supports("avx512vl"))
		return "v3";
	return "v4";
}
#else
static const char *machine_variant(void)
{
	return "";
}
#endif

static int set_machine(struct platform *ret, struct err *e)
{
	struct utsname machine;
	const char *arch = machine.machine, *variant = "";

	if (uname(&machine) < 0)
		return err_sys(e, -errno, "the machine's kind");
	for (size_t i = 0; i < ELEMENTSOF(aliases); i++)
		if (strcmp(machine.machine, aliases[i].name) == 0) {
			arch = aliases[i].arch;
			variant = aliases[i].variant;
		}
	if (strcmp(arch, "amd64") == 0)
		variant = machine_variant();
	return set(ret, "linux", arch, variant, e);
}

int platform_parse(const char *text, struct platform *ret, struct err *e)
{
	_cleanup_free_ char *copy = NULL;
	char *parts[3] = {NULL, NULL, NULL}, *rest;
	size_t n = 0;

	if (!text[0])
		return set_machine(ret, e);
	copy = rest = strdup(text);
	if (!copy)
		return err_set(e, -ENOMEM, "out of memory");
	while (rest && n < ELEMENTSOF(parts)) {
		parts[n] = strsep(&rest, "/");
		if (!parts[n][0] || strlen(parts[n]) > 32 ||
			parts[n][strspn(parts[n], "abcdefghijklmnopqrstuvwxyz0123456789_.-")])
			break;
		n++;
	}
	if (rest || n < 2 || (n == 2 && parts[2]))
		return err_set(
			e, -EINVAL, "not a platform: linux/amd64, linux/arm64 or linux/arm/v7 would be one");
	return set(ret, parts[0], parts[1], n == 3 ? parts[2] : "", e);
}

int platform_text(const struct platform *p, char **ret, struct err *e)
{
	const char *variant = p->variant ? p->variant : "";
	char *text;

	if (asprintf(&text, "%s/%s%s%s", p->os ? p->os : "unknown", p->arch ? p->arch : "unknown",
		    variant[0] ? "/" : "", variant) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	*ret = text;
	return 0;
}

/*
 * How far a variant goes, where those of an architecture build on each other: whoever has level L runs everything up to L. -1: one doesn't
 * know. v9.N of arm64 includes v8.(N+5) (Arm ARM, A2.2).
 */
static int level(const char *arch, const char *variant)
{
	uint64_t major, minor = 0;
	_cleanup_free_ char *copy = strdup(variant + (variant[0] == 'v'));
	char *dot = copy ? strchr(copy, '.') : NULL;

	if (!copy)
		return -1;
	if (strcmp(arch, "amd64") == 0)
		return !copy[0] ? 1 : parse_u64(copy, 1, 4, &major) == 0 ? (int)major : -1;
	if (strcmp(arch, "arm") == 0)
		return !copy[0] ? 7 : parse_u64(copy, 5, 8, &major) == 0 ? (int)major : -1;
	if (strcmp(arch, "arm64") != 0)
		return -1;
	if (!copy[0])
		return 0;
	if (dot)
		*dot++ = '\0';
	if (parse_u64(copy, 8, 9, &major) < 0 || (dot && parse_u64(dot, 0, 99, &minor) < 0))
		return -1;
	return (int)(major == 9 ? minor + 5 : minor);
}

/* The entry's names, as everybody else has them. */
static void normal(const struct platform *p, const char **ret_arch, const char **ret_variant)
{
	*ret_arch = p->arch;
	*ret_variant = p->variant;
	for (size_t i = 0; i < ELEMENTSOF(aliases); i++)
		if (strcmp(p->arch, aliases[i].name) == 0) {
			*ret_arch = aliases[i].arch;
			if (!p->variant[0])
				*ret_variant = aliases[i].variant;
		}
}

/* How well HAVE serves who wants WANTED: more is better, -1 not at all. Only the architecture itself: who asks for amd64 gets no 386. */
static int fit(const struct platform *wanted, const struct platform *have)
{
	const char *arch, *variant, *wanted_arch, *wanted_variant;

	normal(have, &arch, &variant);
	normal(wanted, &wanted_arch, &wanted_variant);
	if (strcmp(wanted->os, have->os) != 0 || strcmp(wanted_arch, arch) != 0)
		return -1;

	int limit = level(wanted_arch, wanted_variant), l = level(arch, variant);

	if (limit < 0 || l < 0)
		return strcmp(wanted_variant, variant) == 0 ? 0 : -1;
	return l <= limit ? l : -1;
}

bool platform_fits(const struct platform *have, const struct platform *wanted)
{
	return fit(wanted, have) >= 0;
}

struct choice {
	size_t entry;
	int fit;
};

static int compare(const void *a, const void *b)
{
	const struct choice *x = a, *y = b;

	if (x->fit != y->fit)
		return x->fit > y->fit ? -1 : 1;
	return x->entry < y->entry ? -1 : 1;
}

/* The first few: a stranger's list of a thousand is no message. */
static int none(const struct manifest *index, const struct platform *wanted, struct err *e)
{
	enum { SHOWN_MAX = 20 };
	_cleanup_free_ char *list = NULL, *want = NULL;
	size_t n = 0, left = 0, shown = 0;
	FILE *f = open_memstream(&list, &n);
	int r;

	if (!f)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < index->count; i++) {
		const struct platform *p = &index->entries[i].platform;

		if (index->entries[i].attestation || !p->os)
			continue;
		if (shown == SHOWN_MAX) {
			left++;
			continue;
		}
		fprintf(f, "%s%.32s/%.32s%s%.32s", shown++ ? ", " : "", p->os, p->arch,
			p->variant[0] ? "/" : "", p->variant);
	}
	if (left > 0)
		fprintf(f, " and %zu more", left);
	if (fclose(f) != 0)
		return err_set(e, -ENOMEM, "out of memory");
	r = platform_text(wanted, &want, e);
	if (r < 0)
		return r;
	return err_set(e, -ENOENT, "there is no image for %s in it: %s%s", want,
		shown ? "it has " : "it has none at all", list);
}

int manifest_choose(const struct manifest *index, const struct platform *wanted, size_t *ret, size_t *ret_n,
	struct err *e)
{
	_cleanup_free_ struct choice *choices = calloc(index->count + 1, sizeof(*choices));
	size_t n = 0;

	if (!choices)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < index->count; i++) {
		const struct descriptor *d = &index->entries[i];
		bool nested = media_type_is_index(d->media_type);
		int f;

		if (d->attestation || (!nested && !media_type_is_image(d->media_type)))
			continue;
		f = d->platform.os ? fit(wanted, &d->platform) : 0;
		if (f < 0)
			continue;
		choices[n++] = (struct choice){i, nested || !d->platform.os ? -1 : f};
	}
	if (n == 0)
		return none(index, wanted, e);
	qsort(choices, n, sizeof(*choices), compare);
	for (size_t i = 0; i < n; i++)
		ret[i] = choices[i].entry;
	*ret_n = n;
	return 0;
}
