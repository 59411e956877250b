#include "registry/digest.h"

#include <stdbool.h>

#include <openssl/evp.h>

#define HEX "0123456789abcdef"

struct algorithm {
	const char *prefix;
	size_t digits;
	const EVP_MD *(*md)(void);
};

static const struct algorithm algorithms[] = {
	{"sha256:", 64, EVP_sha256},
	{"sha512:", 128, EVP_sha512},
};

/* Two contexts, made at the start: to read the digest needs a copy of the state. */
struct hash {
	const struct algorithm *algorithm;
	EVP_MD_CTX *state, *copy;
	bool failed;
};

static const struct algorithm *find(const char *text)
{
	for (size_t i = 0; i < ELEMENTSOF(algorithms); i++)
		if (strncmp(text, algorithms[i].prefix, strlen(algorithms[i].prefix)) == 0)
			return &algorithms[i];
	return NULL;
}

int digest_check(const char *text, struct err *e)
{
	const struct algorithm *a = find(text);
	size_t name = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789+._-");

	if (!a && name > 0 && name <= 32 && text[name] == ':')
		return err_set(e, -EINVAL, "a digest by %.*s, where only sha256 and sha512 are known",
			(int)name, text);
	if (!a)
		return err_set(e, -EINVAL, "not a digest (sha256: or sha512: and hexadecimal digits)");

	const char *digits = text + strlen(a->prefix);

	if (strspn(digits, HEX) != a->digits || digits[a->digits])
		return err_set(e, -EINVAL, "not a digest: after %s come %zu lower-case hexadecimal digits",
			a->prefix, a->digits);
	return 0;
}

static int init(struct hash *h, struct err *e)
{
	h->state = EVP_MD_CTX_new();
	h->copy = EVP_MD_CTX_new();
	if (!h->state || !h->copy || EVP_DigestInit_ex(h->state, h->algorithm->md(), NULL) != 1)
		return err_set(e, -ENOMEM, "no memory for a hash");
	return 0;
}

int hash_new(const char *digest, struct hash **ret, struct err *e)
{
	_cleanup_(hash_freep) struct hash *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return err_set(e, -ENOMEM, "out of memory");
	h->algorithm = find(digest);
	if (!h->algorithm)
		return err_set(e, -EINVAL, "a digest that was never checked");
	r = init(h, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(h);
	return 0;
}

struct hash *hash_free(struct hash *h)
{
	if (h) {
		EVP_MD_CTX_free(h->state);
		EVP_MD_CTX_free(h->copy);
		free(h);
	}
	return NULL;
}

void hash_update(struct hash *h, const void *data, size_t n)
{
	if (EVP_DigestUpdate(h->state, data, n) != 1)
		h->failed = true;
}

static void write_text(const struct algorithm *a, const unsigned char *bytes, char ret[DIGEST_TEXT_MAX])
{
	size_t n = strlen(a->prefix);

	memcpy(ret, a->prefix, n);
	for (size_t i = 0; i < a->digits / 2; i++) {
		ret[n++] = HEX[bytes[i] >> 4];
		ret[n++] = HEX[bytes[i] & 15];
	}
	ret[n] = '\0';
}

void hash_text(const struct hash *h, char ret[DIGEST_TEXT_MAX])
{
	unsigned char bytes[EVP_MAX_MD_SIZE];

	ret[0] = '\0';
	if (!h->failed && EVP_MD_CTX_copy_ex(h->copy, h->state) == 1 &&
		EVP_DigestFinal_ex(h->copy, bytes, NULL) == 1)
		write_text(h->algorithm, bytes, ret);
}

static void text_of(const struct algorithm *a, const void *data, size_t n, char ret[DIGEST_TEXT_MAX])
{
	unsigned char bytes[EVP_MAX_MD_SIZE];

	ret[0] = '\0';
	if (EVP_Digest(data, n, bytes, NULL, a->md(), NULL) == 1)
		write_text(a, bytes, ret);
}

void digest_of(const void *data, size_t n, char ret[DIGEST_TEXT_MAX])
{
	text_of(&algorithms[0], data, n, ret);
}

int digest_verify(const char *digest, const void *data, size_t n, const char *what, struct err *e)
{
	const struct algorithm *a = find(digest);
	char text[DIGEST_TEXT_MAX];

	if (!a)
		return err_set(e, -EBADMSG, "%s: its digest was never checked", what);
	text_of(a, data, n, text);
	if (!text[0])
		return err_set(e, -ENOMEM, "no memory for a hash");
	if (strcmp(text, digest) != 0)
		return err_set(e, -EBADMSG, "%s is damaged: it should have the digest %s and has %s", what,
			digest, text);
	return 0;
}
