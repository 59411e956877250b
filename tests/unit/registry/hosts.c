/* Where registries are asked: order, schemes, certificates, and which addresses are whose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

#include "banger/io.h"
#include "registry/hosts.h"

static const struct {
	const char *insecure, *mirrors, *host;
	const char *want; /* "BASE flags" for each, flags of m(irror) i(nsecure) h(ttp) */
} rows[] = {
	{NULL, NULL, "docker.io", "https://registry-1.docker.io -;"},
	{"", "", "index.docker.io", "https://registry-1.docker.io -;"},
	{NULL, NULL, "registry-1.docker.io", "https://registry-1.docker.io -;"},
	{NULL, NULL, "h.example:5000", "https://h.example:5000 -;"},
	{NULL, NULL, "localhost:5000", "https://localhost:5000 h;"},
	{NULL, NULL, "127.0.0.2", "https://127.0.0.2 h;"},
	{NULL, NULL, "[::1]:5000", "https://[::1]:5000 h;"},
	{NULL, NULL, "[2001:db8::1]:5000", "https://[2001:db8::1]:5000 -;"},
	{" other.example  10.0.0.1:5000\n", NULL, "10.0.0.1:5000", "https://10.0.0.1:5000 ih;"},
	{"10.0.0.1:5000", NULL, "10.0.0.1:5001", "https://10.0.0.1:5001 -;"},
	{"10.0.0.1", NULL, "10.0.0.1:5000", "https://10.0.0.1:5000 -;"},
	{"[fd00::1]:5000", NULL, "[fd00::1]:5000", "https://[fd00::1]:5000 ih;"},
	{"H.Example", NULL, "h.example", "https://h.example ih;"},
	{NULL, "docker.io=https://m.example", "docker.io",
		"https://m.example m;https://registry-1.docker.io -;"},
	{NULL, "index.docker.io=https://m.example/a/b// docker.io=https://n.example:1", "docker.io",
		"https://m.example/a/b m;https://n.example:1 m;https://registry-1.docker.io -;"},
	{NULL, "h.example=https://m.example docker.io=https://n.example", "h.example",
		"https://m.example m;https://h.example -;"},
	{NULL, "h.example:5000=https://m.example", "h.example", "https://h.example -;"},
	{NULL, "docker.io=http://m.example", "docker.io",
		"http://m.example mi;https://registry-1.docker.io -;"},
	{"m.example", "docker.io=https://m.example/x", "docker.io",
		"https://m.example/x mih;https://registry-1.docker.io -;"},
	{"m.example", "docker.io=http://m.example", "docker.io",
		"http://m.example mi;https://registry-1.docker.io -;"},
	{NULL, "docker.io=https://[::1]:5000", "docker.io",
		"https://[::1]:5000 m;https://registry-1.docker.io -;"},
};

static void test_endpoints(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		struct hosts_config config = {.insecure = rows[i].insecure, .mirrors = rows[i].mirrors};
		_cleanup_free_ char *text = NULL;
		_cleanup_err_ struct err e = {0};
		struct endpoint *list;
		size_t n, size;
		FILE *f = open_memstream(&text, &size);

		if (hosts_endpoints(&config, rows[i].host, &list, &n, &e) < 0)
			fail_msg("row %zu: %s", i, err_text(&e));
		for (size_t k = 0; k < n; k++) {
			bool none = !list[k].mirror && !list[k].insecure && !list[k].try_http;

			fprintf(f, "%s %s%s%s%s;", list[k].base, none ? "-" : "", list[k].mirror ? "m" : "",
				list[k].insecure ? "i" : "", list[k].try_http ? "h" : "");
			assert_null(list[k].ca_file);
			assert_null(list[k].cert_file);
			assert_null(list[k].key_file);
		}
		fclose(f);
		endpoints_free(list, n);
		assert_string_equal(text, rows[i].want);
	}
}

static void test_bad_settings(void **state)
{
	static const char *const insecure[] = {"a/b", "http://h.example", ".", "..", "h:0",
		"h.example good ../x", "h,i", "[::1", "[::1%lo]"};
	static const char *const mirrors[] = {"docker.io", "docker.io=", "=https://m", "docker.io=m.example",
		"docker.io=https://", "docker.io=https:///x", "docker.io=ftp://m", "docker.io=https://u@m",
		"docker.io=https://m/?x", "docker.io=https://m/../x", "docker.io=https://m#x",
		"docker.io=https://m/a//b", "a/b=https://m", "docker.io=https://m:x", "docker.io=https:m",
		"docker.io=https://m docker.io=x"};
	static const char *const hosts[] = {"", ".", "..", "a/b", "/etc", ".h", "h/../..", "h:", "a b"};
	struct endpoint *list = NULL;
	size_t n = 7;

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(insecure); i++) {
		struct hosts_config config = {.insecure = insecure[i]};
		_cleanup_err_ struct err e = {0};

		if (hosts_check_insecure(insecure[i], &e) != -EINVAL || !e.text ||
			hosts_endpoints(&config, "h.example", &list, &n, NULL) != -EINVAL)
			fail_msg("insecure '%s' passes", insecure[i]);
	}
	for (size_t i = 0; i < ELEMENTSOF(mirrors); i++) {
		struct hosts_config config = {.mirrors = mirrors[i]};
		_cleanup_err_ struct err e = {0};

		if (hosts_check_mirrors(mirrors[i], &e) != -EINVAL || !e.text ||
			hosts_endpoints(&config, "docker.io", &list, &n, NULL) != -EINVAL)
			fail_msg("mirrors '%s' pass", mirrors[i]);
	}
	for (size_t i = 0; i < ELEMENTSOF(hosts); i++)
		if (hosts_endpoints(&(struct hosts_config){0}, hosts[i], &list, &n, NULL) != -EINVAL)
			fail_msg("host '%s' passes", hosts[i]);
	assert_null(list);
	assert_int_equal(n, 7);
	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		assert_int_equal(hosts_check_insecure(rows[i].insecure, NULL), 0);
		assert_int_equal(hosts_check_mirrors(rows[i].mirrors, NULL), 0);
	}
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void put_file(int dirfd, const char *name)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
}

static void assert_below(const char *path, const char *home, const char *rest)
{
	_cleanup_free_ char *want = NULL;

	assert_true(asprintf(&want, "%s/.config/containers/certs.d/%s", home, rest) > 0);
	assert_non_null(path);
	assert_string_equal(path, want);
}

static void test_certificates(void **state)
{
	static const char *const folders[] = {".config", ".config/containers", ".config/containers/certs.d",
		".config/containers/certs.d/h.example:5000", ".config/containers/certs.d/m.example",
		".config/containers/certs.d/empty.example", ".config/containers/certs.d/docker.io"};
	static const char *const files[] = {"h.example:5000/z.crt", "h.example:5000/b.crt",
		"h.example:5000/.a.crt", "h.example:5000/a.cert", "h.example:5000/client.cert",
		"h.example:5000/client.key", "h.example:5000/x.cert", "h.example:5000/x.key",
		"h.example:5000/other.key", "m.example/ca.crt", "docker.io/d.crt", "plain.example"};
	char home[] = "/tmp/banger-hosts-XXXXXX";
	struct hosts_config config = {.mirrors = "h.example:5000=https://m.example/v", .home = home};
	_cleanup_close_ int fd = -EBADF, certs = -EBADF;
	_cleanup_err_ struct err e = {0};
	struct endpoint *list;
	size_t n;

	(void)state;
	assert_non_null(mkdtemp(home));
	fd = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < ELEMENTSOF(folders); i++)
		assert_int_equal(mkdirat(fd, folders[i], 0700), 0);
	certs = openat(fd, ".config/containers/certs.d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < ELEMENTSOF(files); i++)
		put_file(certs, files[i]);

	assert_int_equal(hosts_endpoints(&config, "h.example:5000", &list, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_below(list[0].ca_file, home, "m.example/ca.crt");
	assert_null(list[0].cert_file);
	assert_null(list[0].key_file);
	assert_below(list[1].ca_file, home, "h.example:5000/b.crt");
	assert_below(list[1].cert_file, home, "h.example:5000/client.cert");
	assert_below(list[1].key_file, home, "h.example:5000/client.key");
	endpoints_free(list, n);

	assert_int_equal(hosts_endpoints(&config, "index.docker.io", &list, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_below(list[0].ca_file, home, "docker.io/d.crt");
	endpoints_free(list, n);

	assert_int_equal(hosts_endpoints(&config, "empty.example", &list, &n, NULL), 0);
	assert_null(list[0].ca_file);
	endpoints_free(list, n);

	/* What stands in the folder's place is named. */
	assert_int_equal(hosts_endpoints(&config, "plain.example", &list, &n, &e), -ENOTDIR);
	assert_non_null(strstr(err_text(&e), "certs.d/plain.example"));
	assert_int_equal(nftw(home, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void test_loopback(void **state)
{
	static const char *const yes[] = {"localhost", "localhost:5000", "LocalHost", "a.localhost",
		"a.b.localhost:80", "127.0.0.1", "127.255.0.3:1", "[::1]", "[::1]:5000", "::1",
		"[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]"};
	static const char *const no[] = {"", "localhost.example", "notlocalhost", "127.1",
		"127.0.0.1.example", "128.0.0.1", "[::2]", "[::]", "0.0.0.0", "10.0.0.1:5000",
		"[::ffff:10.0.0.1]", "docker.io", "::1%lo"};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(yes); i++)
		if (!host_is_loopback(yes[i]))
			fail_msg("%s is not loopback", yes[i]);
	for (size_t i = 0; i < ELEMENTSOF(no); i++)
		if (host_is_loopback(no[i]))
			fail_msg("%s is loopback", no[i]);
}

static void test_internal(void **state)
{
	static const char *const yes[] = {"127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255",
		"192.168.0.1", "169.254.169.254", "100.64.0.1", "100.127.255.255", "::", "::1", "fc00::1",
		"fdff::", "fe80::1", "febf::1", "fe80::1%eth0", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe",
		"::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "2002:7f00:1::", "127.1", "0x7f000001",
		"2130706433", "0177.0.0.1"};
	static const char *const no[] = {"", "8.8.8.8", "172.15.255.255", "172.32.0.0", "100.63.255.255",
		"100.128.0.0", "169.253.0.1", "192.167.1.1", "11.0.0.1", "126.0.0.1", "128.0.0.1", "1.0.0.0",
		"2001:db8::1", "fe00::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8",
		"2002:808:808::", "10.0.0.1.example", "docker.io", "[::1]"};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(yes); i++)
		if (!host_is_internal_address(yes[i]))
			fail_msg("%s is not internal", yes[i]);
	for (size_t i = 0; i < ELEMENTSOF(no); i++)
		if (host_is_internal_address(no[i]))
			fail_msg("%s is internal", no[i]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_endpoints),
		cmocka_unit_test(test_bad_settings),
		cmocka_unit_test(test_certificates),
		cmocka_unit_test(test_loopback),
		cmocka_unit_test(test_internal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
