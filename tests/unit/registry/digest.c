/* Digests: what passes as one, known answers, and that nothing wrong is taken for right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "registry/digest.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* FIPS 180-4's examples. */
#define SHA256_ABC  "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define SHA256_NONE "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define SHA512_ABC                                                                                           \
	"sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"                            \
	"2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"

static void test_check(void **state)
{
	static const char *const bad[] = {
		"",
		"sha256",
		"sha256:",
		":" HEX64,
		HEX64,
		"sha256:../../x",
		"sha256:" HEX64 "0",
		"sha256:" HEX64 "/",
		"sha256:" HEX64 "\n",
		" sha256:" HEX64,
		"SHA256:" HEX64,
		"sha256:ABCDEF6789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		"sha256:0x23456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		"sha512:" HEX64,
		"sha512:" HEX64 HEX64 "0",
		"sha256:" HEX64 HEX64,
		"sha384:" HEX64,
		"md5:d41d8cd98f00b204e9800998ecf8427e",
		"sha256+b64u:" HEX64,
		"evil\nline:" HEX64,
	};

	(void)state;
	assert_int_equal(digest_check("sha256:" HEX64, NULL), 0);
	assert_int_equal(digest_check("sha512:" HEX64 HEX64, NULL), 0);
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		_cleanup_err_ struct err e = {0};

		if (digest_check(bad[i], &e) != -EINVAL)
			fail_msg("'%s' passes", bad[i]);
		assert_non_null(e.text);
		assert_null(strchr(e.text, '\n'));
	}
}

static void test_check_names_it(void **state)
{
	_cleanup_err_ struct err e = {0};

	(void)state;
	assert_int_equal(digest_check("md5:d41d8cd98f00b204e9800998ecf8427e", &e), -EINVAL);
	assert_non_null(strstr(e.text, "md5"));
}

static void test_hash(void **state)
{
	static const struct {
		const char *abc;
	} rows[] = {{SHA256_ABC}, {SHA512_ABC}};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		_cleanup_(hash_freep) struct hash *h = NULL;
		char first[DIGEST_TEXT_MAX], text[DIGEST_TEXT_MAX];

		assert_int_equal(hash_new(rows[i].abc, &h, NULL), 0);
		hash_update(h, "a", 1);
		hash_text(h, first);
		assert_int_equal(digest_check(first, NULL), 0);
		hash_update(h, "", 0);
		hash_update(h, "bc", 2);
		hash_text(h, text);
		assert_string_equal(text, rows[i].abc);
		hash_text(h, text);
		assert_string_equal(text, rows[i].abc);
		assert_string_not_equal(first, text);
	}
}

static void test_verify(void **state)
{
	char text[DIGEST_TEXT_MAX];
	_cleanup_err_ struct err e = {0};

	(void)state;
	digest_of("abc", 3, text);
	assert_string_equal(text, SHA256_ABC);
	digest_of("", 0, text);
	assert_string_equal(text, SHA256_NONE);

	assert_int_equal(digest_verify(SHA256_ABC, "abc", 3, "the manifest", NULL), 0);
	assert_int_equal(digest_verify(SHA512_ABC, "abc", 3, "the manifest", NULL), 0);
	assert_int_equal(digest_verify(SHA512_ABC, "abd", 3, "the manifest", NULL), -EBADMSG);
	assert_int_equal(digest_verify(SHA256_ABC, "", 0, "the manifest", &e), -EBADMSG);
	assert_non_null(strstr(e.text, "the manifest"));
	assert_non_null(strstr(e.text, SHA256_ABC));
	assert_non_null(strstr(e.text, SHA256_NONE));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_check_names_it),
		cmocka_unit_test(test_hash),
		cmocka_unit_test(test_verify),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
