#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdint.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <time.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "stats.h"

/* The number behind KEY in TEXT ("KEY   123 ..."), 0: not there. */
static uint64_t number_of(const char *text, const char *key)
{
	const char *at = text ? strstr(text, key) : NULL;
	char digits[24];
	uint64_t v = 0;
	size_t n;

	if (!at)
		return 0;
	at += strlen(key);
	at += strspn(at, " \t:");
	n = strspn(at, "0123456789");
	if (n == 0 || n >= sizeof(digits))
		return 0;
	memcpy(digits, at, n);
	digits[n] = '\0';
	return parse_u64(digits, 0, UINT64_MAX, &v) < 0 ? 0 : v;
}

/* The Nth number (from 0) of the line. */
static uint64_t nth(const char *line, unsigned which)
{
	for (; which > 0; which--) {
		line += strspn(line, " \t");
		line += strcspn(line, " \t");
	}
	return number_of(line, "");
}

static char *read_text(const char *path)
{
	char *text = NULL;

	return io_read_file(AT_FDCWD, path, 1 << 20, &text, NULL, NULL) < 0 ? NULL : text;
}

static void write_disk(FILE *out, const char *name, const struct statvfs *st)
{
	uint64_t total = (uint64_t)st->f_blocks * st->f_frsize;

	fprintf(out, "%s_total %lu\n%s_used %lu\n", name, (unsigned long)total, name,
		(unsigned long)(total - (uint64_t)st->f_bfree * st->f_frsize));
}

void stats_write(FILE *out, int work_fd)
{
	_cleanup_free_ char *stat = read_text("/proc/stat"), *memory = read_text("/proc/meminfo"),
			    *net = read_text("/proc/net/dev");
	const char *eth0 = net ? strstr(net, "eth0:") : NULL;
	struct sysinfo info;
	struct statvfs st;
	uint64_t ticks = 0;

	/* proc(5): user, nice, system, idle, iowait, irq, softirq, steal, in ticks of 1/100 s. */
	for (unsigned i = 0; stat && i < 8; i++)
		if (i != 3 && i != 4)
			ticks += nth(stat + strlen("cpu "), i);
	fprintf(out, "cpu_usec %lu\n", (unsigned long)ticks * 10000);
	fprintf(out, "memory_total %lu\n", (unsigned long)number_of(memory, "MemTotal:") * 1024);
	fprintf(out, "memory_available %lu\n", (unsigned long)number_of(memory, "MemAvailable:") * 1024);
	fprintf(out, "memory_free %lu\n", (unsigned long)number_of(memory, "MemFree:") * 1024);
	fprintf(out, "swap_used %lu\n",
		(unsigned long)(number_of(memory, "SwapTotal:") - number_of(memory, "SwapFree:")) * 1024);
	if (sysinfo(&info) == 0)
		/* Loads are fixed point with 16 bits behind it. */
		fprintf(out, "processes %u\nload1 %lu\n", info.procs, info.loads[0] * 100 >> 16);
	if (work_fd >= 0 && fstatvfs(work_fd, &st) == 0)
		write_disk(out, "disk", &st);
	if (statvfs("/", &st) == 0)
		write_disk(out, "root", &st);
	fprintf(out, "net_rx_bytes %lu\nnet_tx_bytes %lu\n",
		eth0 ? (unsigned long)nth(eth0 + strlen("eth0:"), 0) : 0,
		eth0 ? (unsigned long)nth(eth0 + strlen("eth0:"), 8) : 0);
	fprintf(out, "uptime_usec %lu\n", (unsigned long)io_now_usec());
}

void stats_health(FILE *out, bool init_runs, unsigned jobs)
{
	_cleanup_free_ char *boot_id = read_text("/proc/sys/kernel/random/boot_id");
	_cleanup_free_ char *state = read_text("/sys/class/net/eth0/operstate");
	char name[65] = "";

	gethostname(name, sizeof(name) - 1);
	fprintf(out, "agent %s\nhostname %s\ninit %s\n", BANGER_VERSION, name,
		init_runs ? "running" : "none");
	fprintf(out, "boot_id %s", boot_id ? boot_id : "\n");
	fprintf(out, "network %s\n",
		state && (strncmp(state, "up", 2) == 0 || strncmp(state, "unknown", 7) == 0) ? "up" : "down");
	fprintf(out, "jobs %u\n", jobs);
}
