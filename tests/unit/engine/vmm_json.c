/* What a VMM says is a stranger's word: whatever isn't as it should be isn't there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "banger/cleanup.h"
#include "engine/vmm_json.h"

static void parses(void **state)
{
	static const char *const refused[] = {"", "null", "[]", "\"a\"", "5", "{\"a\":", "{\"a\" 1}",
		"{\"a\":[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]}"};
	json_object *o = vmm_json_parse("{\"a\":{}}");

	(void)state;
	assert_non_null(o);
	json_object_put(o);
	for (size_t i = 0; i < ELEMENTSOF(refused); i++)
		assert_null(vmm_json_parse(refused[i]));
}

static void members(void **state)
{
	static const struct {
		const char *key, *text;
		bool is_number;
		uint64_t number;
	} rows[] = {
		{"text", "running", false, 0},
		{"number", NULL, true, 4096},
		{"zero", NULL, true, 0},
		{"null", NULL, false, 0},
		{"negative", NULL, false, 0},
		{"never", NULL, false, 0},
		{"list", NULL, false, 0},
		{"object", NULL, false, 0},
		{"none", NULL, false, 0},
	};
	json_object *o = vmm_json_parse(
		"{\"text\":\"running\",\"number\":4096,\"zero\":0,\"null\":null,\"negative\":-1,"
		"\"never\":18446744073709551615,\"list\":[1],\"object\":{\"a\":\"b\"}}");
	uint64_t v;

	(void)state;
	assert_non_null(o);
	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		const char *text = vmm_json_text(o, rows[i].key);

		assert_true(rows[i].text ? text && strcmp(text, rows[i].text) == 0 : !text);
		assert_int_equal(vmm_json_number(o, rows[i].key, &v), rows[i].is_number);
		if (rows[i].is_number)
			assert_int_equal(v, rows[i].number);
	}
	json_object_put(o);
	assert_null(vmm_json_text(NULL, "text"));
	assert_false(vmm_json_number(NULL, "number", &v));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(parses), cmocka_unit_test(members)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
