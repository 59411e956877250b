/*
 * What the owner may send to the helper, and what a mountinfo may hold. The first byte is the number of descriptors; what follows is a request,
 * as far as it goes, and then a mountinfo.
 */
#include <errno.h>
#include <stdint.h>

#include "../../helper/argv.h"
#include "../../helper/calls.h"
#include "../../helper/mountinfo.h"
#include "banger/cleanup.h"

struct seen {
	const char *text;
	size_t size, n;
};

static void see(void *user, const struct mountinfo *m)
{
	struct seen *s = user;
	uintptr_t from = (uintptr_t)s->text, to = from + s->size;

	s->n++;
	/* Both are strings inside of the text. */
	if ((uintptr_t)m->place < from || (uintptr_t)m->place + strlen(m->place) >= to ||
		(uintptr_t)m->type < from || (uintptr_t)m->type + strlen(m->type) >= to ||
		strpbrk(m->type, " \n"))
		abort();
}

/* A command line whatever the numbers are; calls_run() has it checked before. */
static void try_argv(const struct helper_request *q)
{
	struct argv a;

	if (argv_qemu(q, q->vm, &a, NULL) < 0 || a.n < 50 || a.args[a.n])
		abort();
	argv_clear(&a);
}

static void try_request(const uint8_t *data, size_t n, size_t nfds)
{
	struct helper_request q = {.magic = HELPER_MAGIC, .version = HELPER_VERSION};
	_cleanup_err_ struct err e = {0};
	const char *name = NULL;
	int r;

	memcpy(&q, data, n < sizeof(q) ? n : sizeof(q));
	r = calls_check(&q, nfds, &name, &e);
	if (r != 0 && (r != -EPROTO || !e.text))
		abort();
	if (r == 0 && (!name || q.call < 1 || q.call > HELPER_CALL_MAX || q.vm > HELPER_VM_MAX || q.reserved))
		abort();
	if (r == 0 && q.call != HELPER_LAUNCH && nfds > (q.call == HELPER_MOUNT || q.call == HELPER_JAIL))
		abort();
	if (r == 0 && q.call == HELPER_LAUNCH &&
		nfds != (q.u.launch.engine == HELPER_ENGINE_FIRECRACKER ? LAUNCH_FD_COUNT_JAILED
									: LAUNCH_FD_COUNT))
		abort();
	if (r == 0 && q.call == HELPER_LAUNCH)
		try_argv(&q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = NULL;
	struct seen seen = {0};
	size_t lines = 1;

	if (size < 1)
		return 0;
	try_request(data + 1, size - 1, data[0]);
	text = malloc(size);
	if (!text)
		abort();
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	for (const char *p = text; *p; p++)
		lines += *p == '\n';
	seen.text = text;
	seen.size = size;
	mountinfo_parse(text, see, &seen);
	if (seen.n > lines)
		abort();
	return 0;
}
