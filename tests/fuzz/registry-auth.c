/* Files of credentials, which other programs write: whatever is in one, it can be asked, changed, written and read again. */
#include <stdint.h>

#include "registry/auth_file.h"
#include "registry/secret.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int look_at(void *user, const char *key, const char *name)
{
	(void)user;
	if (!key || !*name)
		abort();
	return 0;
}

static void ask(const struct auth_file *f, const char *host, const char *path)
{
	_cleanup_(credentials_freep) struct credentials *c = NULL;
	_cleanup_err_ struct err e = {0};
	bool named = false, store;
	const char *program = auth_file_program(f, host, &store);
	int r = auth_file_find(f, host, path, &c, &named, &e);

	if (program && !*program)
		abort();
	if ((r < 0 && (c || !e.text)) || (c && !named))
		abort();
	if (c && (!c->user || !c->password == !c->identity_token))
		abort();
}

/* What was put in is what is found, also after it was written and read; and it can be taken out. */
static void change(struct auth_file *f, const char *host)
{
	struct credentials in = {.user = (char *)"me", .password = (char *)"a:b"};
	_cleanup_(auth_file_freep) struct auth_file *again = NULL;
	_cleanup_(credentials_freep) struct credentials *out = NULL, *gone = NULL;
	_cleanup_secret_ char *text = NULL, *text2 = NULL;

	if (auth_file_set(f, host, &in, NULL) < 0 || auth_file_text(f, &text, NULL) < 0)
		abort();
	if (auth_file_parse(text, strlen(text), false, &again, NULL) < 0)
		abort();
	if (auth_file_find(again, host, "", &out, NULL, NULL) < 0 || !out ||
		strcmp(out->user, in.user) != 0 || strcmp(out->password, in.password) != 0)
		abort();
	if (auth_file_text(again, &text2, NULL) < 0 || strcmp(text, text2) != 0)
		abort();
	if (!auth_file_remove(again, host) || auth_file_remove(again, host) ||
		auth_file_find(again, host, "", &gone, NULL, NULL) < 0 || gone)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_free_ char *text = calloc(1, n + 1);

	if (!text)
		abort();
	memcpy(text, data, n);
	for (int legacy = 0; legacy < 2; legacy++) {
		_cleanup_(auth_file_freep) struct auth_file *f = NULL;
		_cleanup_err_ struct err e = {0};

		if (auth_file_parse(text, n, legacy, &f, &e) < 0) {
			if (f || !e.text)
				abort();
			continue;
		}
		ask(f, "h.example", "ns/app");
		ask(f, "docker.io", "library/alpine");
		auth_file_each(f, look_at, NULL, NULL);
		if (!legacy)
			change(f, "docker.io");
	}
	return 0;
}
