/* The tables and what guests have in their sets, in a network namespace of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <nftables/libnftables.h>
#include <sched.h>
#include <string.h>

#include "elements.h"
#include "nat.h"

static const struct nat_guest guest = {.vm = 0x0a0b0c,
	.address = 0x0a420007,
	.ip6 = {0xfd, 1, 2, 3, 4, 5, 0, 6, [13] = 0x0a, [14] = 0x0b, [15] = 0x0c}};

static struct nat *new_nat(void)
{
	static const struct instance inst = {.bridge = "bg0", .table = (char *)"banger"};
	struct nat *n = NULL;

	assert_int_equal(nat_new(&inst, &n, NULL), 0);
	return n;
}

/* As somebody else does it, by nft(8)'s words. The output is the caller's. */
static char *nft(const char *command)
{
	struct nft_ctx *ctx = nft_ctx_new(NFT_CTX_DEFAULT);
	char *out;

	assert_int_equal(nft_ctx_buffer_output(ctx), 0);
	assert_int_equal(nft_run_cmd_from_buffer(ctx, command), 0);
	out = strdup(nft_ctx_get_output_buffer(ctx));
	nft_ctx_free(ctx);
	return out;
}

static void has(const char *set, const char *elements, int wanted)
{
	_cleanup_free_ char *command = NULL, *out = NULL;

	assert_true(asprintf(&command, "list set %s\n", set) > 0);
	out = nft(command);
	if (!!strstr(out, elements) != wanted)
		fail_msg("%s: not %s %s in: %s", set, wanted ? "there:" : "gone:", elements, out);
}

static void all_of_the_guest(int wanted)
{
	has("bridge banger guests", "\"bg0-658188\" . 52:54:00:0a:0b:0c . 10.66.0.7", wanted);
	has("bridge banger guests6", "\"bg0-658188\" . 52:54:00:0a:0b:0c . fd01:203:405:6::a:b0c", wanted);
	has("bridge banger guests6", "\"bg0-658188\" . 52:54:00:0a:0b:0c . fe80::5054:ff:fe0a:b0c", wanted);
	has("bridge banger targets", "\"bg0-658188\" . 0xfd010203040500060000000000", wanted);
	has("bridge banger targets", "\"bg0-658188\" . 0xfe80000000000000505400fffe0a0b0c", wanted);
	has("bridge banger links", "\"bg0-658188\" . 0x1015254000a0b0c", wanted);
	has("bridge banger links", "\"bg0-658188\" . 0x2015254000a0b0c", wanted);
	has("inet banger nat", "10.66.0.7", wanted);
	has("inet banger nat6", "fd01:203:405:6::a:b0c", wanted);
}

static void put_all(struct nat *n, int on)
{
	assert_int_equal(nat_tap(n, &guest, on, NULL), 0);
	assert_int_equal(nat_set(n, &guest, on, NULL), 0);
}

/* The keys are what nft(8) would have put in for the same words; taking out is told of nothing. */
static void in_and_out(void **state)
{
	struct nat *n = new_nat();

	(void)state;
	assert_int_equal(nat_up(n, 1, NULL), 0);
	put_all(n, 1);
	all_of_the_guest(1);
	put_all(n, 1);
	all_of_the_guest(1);
	put_all(n, 0);
	all_of_the_guest(0);
	put_all(n, 0);
	all_of_the_guest(0);
	assert_int_equal(nat_down(n, NULL), 0);
	nat_free(n);
}

/* What others do is noticed, whatever it is; what we do isn't taken for theirs, nor theirs for ours. */
static void whole(void **state)
{
	struct nat *n = new_nat();

	(void)state;
	assert_false(nat_is_whole(n));
	assert_false(nat_is_up(n));
	assert_int_equal(nat_up(n, 1, NULL), 0);
	assert_true(nat_is_whole(n));
	put_all(n, 1);
	assert_true(nat_is_whole(n));
	put_all(n, 0);
	assert_true(nat_is_whole(n));

	free(nft("add table inet others\n"));
	assert_false(nat_is_whole(n));
	assert_true(nat_is_up(n));
	put_all(n, 1);
	assert_false(nat_is_whole(n));
	all_of_the_guest(1);
	assert_int_equal(nat_up(n, 0, NULL), 0);
	assert_true(nat_is_whole(n));
	all_of_the_guest(1);

	/* To put in what is there changes nothing, so that the next change may be another's. */
	put_all(n, 1);
	free(nft("flush chain inet banger input\n"));
	assert_false(nat_is_whole(n));
	assert_int_equal(nat_up(n, 0, NULL), 0);
	assert_true(nat_is_whole(n));

	free(nft("delete table inet banger\n"));
	assert_false(nat_is_whole(n));
	assert_false(nat_is_up(n));
	assert_int_equal(nat_set(n, &guest, 1, NULL), -ENOENT);
	put_all(n, 0);
	assert_int_equal(nat_down(n, NULL), 0);
	assert_false(nat_is_whole(n));
	nat_free(n);
}

static void of_a_generation(void **state)
{
	const uint32_t key = 0x01020304;
	const struct elements_set set = {NFPROTO_IPV4, "numbers", &key, sizeof(key), 1};
	_cleanup_(elements_freep) struct elements *el = NULL;
	uint32_t now, next;

	(void)state;
	assert_int_equal(elements_next(UINT32_MAX), 1);
	assert_int_equal(elements_new(&el, NULL), 0);
	free(nft("add table ip t\nadd set ip t numbers { type ipv4_addr; }\n"));
	assert_int_equal(elements_generation(el, &now, NULL), 0);
	assert_int_equal(elements_change(el, "t", &set, 1, ELEMENTS_NEW, now + 1, NULL), -ESTALE);
	has("ip t numbers", "elements", 0);
	assert_int_equal(elements_change(el, "t", &set, 1, ELEMENTS_NEW, now, NULL), 0);
	has("ip t numbers", "elements = { 4.3.2.1 }", 1);
	assert_int_equal(elements_generation(el, &next, NULL), 0);
	assert_int_equal(next, elements_next(now));
	assert_int_equal(elements_change(el, "t", &set, 1, ELEMENTS_NEW, 0, NULL), -EEXIST);
	assert_int_equal(elements_change(el, "t", &set, 1, ELEMENTS_IN, 0, NULL), 0);
	assert_int_equal(elements_change(el, "none", &set, 1, ELEMENTS_OUT, 0, NULL), -ENOENT);
	assert_int_equal(elements_change(el, "t", &set, 1, ELEMENTS_OUT, next, NULL), 0);
	has("ip t numbers", "elements", 0);
	free(nft("delete table ip t\n"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_and_out),
		cmocka_unit_test(whole),
		cmocka_unit_test(of_a_generation),
	};

	if (unshare(CLONE_NEWNET) < 0) {
		print_message("1..0 # SKIP not root\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
