#include "facts.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/err.h"
#include "banger/helper_client.h"
#include "engine/engine.h"
#include "net/dns.h"
#include "vm/config.h"

/* What the last proofs on this boot said: "" is that KVM runs a guest. NULL: there was none. */
static char *accel(const struct facts *f)
{
	_cleanup_free_ char *reason = NULL;

	if (strcmp(settings_get(f->settings, "accel"), "tcg") == 0)
		return strdup("tcg");
	reason = engine_said(f->run_fd);
	return reason ? strdup(*reason ? "tcg" : "kvm") : NULL;
}

static char *kvm(const struct facts *f)
{
	_cleanup_free_ char *reason = NULL;

	if (strcmp(settings_get(f->settings, "accel"), "tcg") == 0)
		return strdup("the setting accel is tcg");
	reason = engine_said(f->run_fd);
	return reason ? strdup(*reason ? reason : "proven") : NULL;
}

static char *engines(const struct facts *f)
{
	_cleanup_free_ char *text = NULL;
	const struct engine *engine;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	(void)f;
	for (size_t i = 0; out && (engine = engine_each(i)); i++) {
		_cleanup_free_ char *programs = NULL;

		if (engine->programs(&programs, NULL) == 0)
			fprintf(out, "%s%s", ftell(out) > 0 ? " " : "", engine->name);
	}
	return out && fclose(out) == 0 ? TAKE_PTR(text) : NULL;
}

static char *storage(const struct facts *f)
{
	_cleanup_err_ struct err why = {0};
	char *text = NULL;

	if (helper_storage(f->helper, &why) == 0)
		return strdup("dm overlay");
	return asprintf(&text, "overlay: %s", err_text(&why)) < 0 ? NULL : text;
}

/* What an instance is doesn't change; who helps it now is asked, and a new helper is given the mount by that. */
static char *helper(const struct facts *f)
{
	struct helper_hello hello = *f->hello;

	return helper_hello(f->helper, &hello, NULL) < 0 ? NULL : strdup(hello.version);
}

static char *bridge(const struct facts *f)
{
	return strdup(f->hello->bridge);
}

static char *ip_text(uint32_t ip)
{
	struct in_addr a = {.s_addr = htonl(ip)};
	char text[INET_ADDRSTRLEN];

	return strdup(inet_ntop(AF_INET, &a, text, sizeof(text)));
}

static char *gateway(const struct facts *f)
{
	return ip_text(f->hello->gateway);
}

static char *subnet(const struct facts *f)
{
	_cleanup_free_ char *network = ip_text(f->hello->network);
	char *text = NULL;

	return network && asprintf(&text, "%s/%u", network, f->hello->prefix) >= 0 ? text : NULL;
}

static char *ip6_text(const struct facts *f, uint8_t host, const char *suffix)
{
	char text6[INET6_ADDRSTRLEN], *text = NULL;
	uint8_t ip6[16];

	if (!f->hello->has_ip6)
		return NULL;
	helper_gateway_ip6(f->hello->prefix6, ip6);
	ip6[15] = host;
	inet_ntop(AF_INET6, ip6, text6, sizeof(text6));
	return asprintf(&text, "%s%s", text6, suffix) < 0 ? NULL : text;
}

static char *gateway6(const struct facts *f)
{
	return ip6_text(f, 1, "");
}

static char *subnet6(const struct facts *f)
{
	return ip6_text(f, 0, "/64");
}

static char *ssh_key(const struct facts *f)
{
	return f->ssh_key ? strdup(f->ssh_key) : NULL;
}

static char *dns(const struct facts *f)
{
	return f->dns ? dns_text(f->dns) : strdup("not yet");
}

static char *dns_place(const struct facts *f)
{
	return f->dns && dns_listens(f->dns) ? strdup(settings_get(f->settings, "dns_listen")) : NULL;
}

static char *number_text(uint64_t n)
{
	char *text = NULL;

	return asprintf(&text, "%llu", (unsigned long long)n) < 0 ? NULL : text;
}

static char *cpus(const struct facts *f)
{
	(void)f;
	return number_text((uint64_t)sysconf(_SC_NPROCESSORS_ONLN));
}

static char *memory(const struct facts *f)
{
	(void)f;
	return number_text((uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
}

static const struct {
	const char *name;
	char *(*text)(const struct facts *f);
} facts[] = {
	{"accel", accel},
	{"kvm", kvm},
	{"engines", engines},
	{"storage", storage},
	{"bridge", bridge},
	{"subnet", subnet},
	{"gateway", gateway},
	{"subnet6", subnet6},
	{"gateway6", gateway6},
	{"helper", helper},
	{"cpus", cpus},
	{"memory", memory},
	{"ssh_key", ssh_key},
	{"dns", dns},
	{"dns_place", dns_place},
};

const char *facts_get(struct facts *f, const char *name)
{
	facts_clear(f);
	for (size_t i = 0; i < ELEMENTSOF(facts); i++)
		if (strcmp(facts[i].name, name) == 0)
			f->last = facts[i].text(f);
	return f->last;
}

void facts_clear(struct facts *f)
{
	free(f->last);
	f->last = NULL;
}
