#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/utils.h>

#include "banger/cleanup.h"
#include "netlink.h"
#include "rate.h"

/* Of the token bucket; a number of ours, so that it is told from a qdisc that the kernel or an administrator put there. */
#define QUEUE_HANDLE 0xba490000u
#define FILTER_PRIO  1
/* The first filter of the first table of an interface's filters (tc-u32(8): 800::1). */
#define FILTER_HANDLE 0x80000001u

/* As Firecracker's is filled, ten times a second (fsd/engine/firecracker.c). */
#define BUCKET_USEC 100000ull
/*
 * The least that a bucket holds, for police drops for ever what is larger: a packet of 64 KiB, as which TCP comes through a tap, counted with the headers of
 * all that it is to become (net/core/dev.c, qdisc_pkt_len_init()): 54 bytes for each 536.
 */
#define BUCKET_MIN (80ull << 10)

struct limit {
	struct tc_ratespec spec;
	uint64_t rate;
	uint64_t bucket; /* bytes */
	uint32_t ticks;  /* what they take */
};

static struct limit limit_of(uint64_t rate)
{
	uint64_t usec = (BUCKET_MIN * 1000000 + rate - 1) / rate;

	usec = usec < BUCKET_USEC ? BUCKET_USEC : usec;
	return (struct limit){
		.spec = {.rate = rate < UINT32_MAX ? (uint32_t)rate : UINT32_MAX,
			.linklayer = TC_LINKLAYER_ETHERNET,
			.cell_log = 1},
		.rate = rate,
		.bucket = rate / 1000000 * usec + rate % 1000000 * usec / 1000000,
		.ticks = nl_us2ticks((uint32_t)usec),
	};
}

/* Puts the options of what is made into a message. -NLE_NOMEM */
typedef int (*options_fn)(struct nl_msg *m, const struct limit *l);

/* Returns what the kernel says of it, as libnl's number. */
static int ask(struct nl_sock *sock, int type, int flags, const struct tcmsg *what, const char *kind,
	options_fn put, const struct limit *l)
{
	struct nl_msg *m = nlmsg_alloc_simple(type, NLM_F_REQUEST | NLM_F_ACK | flags);
	struct nlattr *options;
	int r = -NLE_NOMEM;

	if (m && nlmsg_append(m, (void *)what, sizeof(*what), NLMSG_ALIGNTO) == 0 &&
		(!kind || nla_put_string(m, TCA_KIND, kind) == 0))
		r = 0;
	if (r == 0 && put) {
		options = nla_nest_start(m, TCA_OPTIONS);
		r = options ? put(m, l) : -NLE_NOMEM;
		if (r == 0)
			nla_nest_end(m, options);
	}
	if (r == 0)
		return nl_send_sync(sock, m);
	nlmsg_free(m);
	return r;
}

/* MODULES: what of the kernel's it takes. */
static int judge(int r, const char *modules, struct err *e)
{
	if (r >= 0)
		return 0;
	if (r == -NLE_OBJ_NOTFOUND || r == -NLE_OPNOTSUPP)
		return err_set(e, -EOPNOTSUPP,
			"the host's kernel lacks %s (try: sudo modprobe -a sch_tbf sch_ingress cls_u32 "
			"act_police)",
			modules);
	return netlink_error(e, r, "traffic control by", modules);
}

/* The place where filters look at what comes in. */
static struct tcmsg entrance_of(int ifindex)
{
	return (struct tcmsg){
		.tcm_ifindex = ifindex, .tcm_parent = TC_H_CLSACT, .tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0)};
}

static struct tcmsg filter_of(int ifindex)
{
	return (struct tcmsg){.tcm_ifindex = ifindex,
		.tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS),
		.tcm_handle = FILTER_HANDLE,
		.tcm_info = TC_H_MAKE(FILTER_PRIO << 16, htons(ETH_P_ALL))};
}

static struct tcmsg queue_of(int ifindex)
{
	return (struct tcmsg){.tcm_ifindex = ifindex, .tcm_parent = TC_H_ROOT, .tcm_handle = QUEUE_HANDLE};
}

static int put_police(struct nl_msg *m, const struct limit *l)
{
	/* Asked for, and not looked into of a link whose layer is told (net/sched/sch_api.c, qdisc_get_rtab()). */
	static const uint8_t table[TC_RTAB_SIZE];
	const struct tc_police police = {
		.action = TC_POLICE_SHOT, .burst = l->ticks, .mtu = UINT32_MAX, .rate = l->spec};
	struct nlattr *actions = nla_nest_start(m, TCA_U32_ACT), *first, *options;

	if (!actions || !(first = nla_nest_start(m, 1)) || nla_put_string(m, TCA_ACT_KIND, "police") < 0 ||
		!(options = nla_nest_start(m, TCA_ACT_OPTIONS)) ||
		nla_put(m, TCA_POLICE_TBF, sizeof(police), &police) < 0 ||
		nla_put(m, TCA_POLICE_RATE, sizeof(table), table) < 0 ||
		(l->spec.rate == UINT32_MAX && nla_put_u64(m, TCA_POLICE_RATE64, l->rate) < 0))
		return -NLE_NOMEM;
	nla_nest_end(m, options);
	nla_nest_end(m, first);
	nla_nest_end(m, actions);
	return 0;
}

/*
 * Mask and value 0: any frame. By u32, for a filter of matchall's can't be replaced (net/sched/cls_matchall.c, mall_change()): there would be a moment without.
 */
static int put_filter(struct nl_msg *m, const struct limit *l)
{
	const size_t size = sizeof(struct tc_u32_sel) + sizeof(struct tc_u32_key);
	struct nlattr *any = nla_reserve(m, TCA_U32_SEL, (int)size);
	struct tc_u32_sel *sel = any ? nla_data(any) : NULL;

	if (!sel)
		return -NLE_NOMEM;
	memset(sel, 0, size);
	sel->flags = TC_U32_TERMINAL;
	sel->nkeys = 1;
	return put_police(m, l);
}

static int put_queue(struct nl_msg *m, const struct limit *l)
{
	const struct tc_tbf_qopt tbf = {.rate = l->spec,
		.limit = l->bucket < UINT32_MAX / 2 ? (uint32_t)l->bucket * 2 : UINT32_MAX,
		.buffer = l->ticks};

	return nla_put(m, TCA_TBF_PARMS, sizeof(tbf), &tbf) < 0 ||
			       (l->spec.rate == UINT32_MAX && nla_put_u64(m, TCA_TBF_RATE64, l->rate) < 0)
		       ? -NLE_NOMEM
		       : 0;
}

static int take_away(struct nl_sock *sock, const struct tcmsg *what, struct err *e)
{
	int r = ask(sock, RTM_DELQDISC, 0, what, NULL, NULL, NULL);

	/* What the kernel says of one that isn't there (net/sched/sch_api.c): none, none that is called so, none at all. */
	return r < 0 && r != -NLE_OBJ_NOTFOUND && r != -NLE_INVAL && r != -NLE_OPNOTSUPP
		       ? netlink_error(e, r, "traffic control:", "no limit")
		       : 0;
}

int rate_set(struct nl_sock *sock, int ifindex, uint64_t rate, struct err *e)
{
	const struct tcmsg entrance = entrance_of(ifindex), filter = filter_of(ifindex),
			   out = queue_of(ifindex);
	struct limit l;
	int made, r;

	if (rate == 0) {
		r = take_away(sock, &out, e);
		return r == 0 ? take_away(sock, &entrance, e) : r;
	}
	l = limit_of(rate);
	made = ask(sock, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &entrance, "clsact", NULL, NULL);
	if (made < 0 && made != -NLE_EXIST)
		return judge(made, "sch_ingress", e);
	r = judge(ask(sock, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_REPLACE, &filter, "u32", put_filter, &l),
		"cls_u32 or act_police", e);
	if (r == 0)
		r = judge(ask(sock, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, &out, "tbf", put_queue, &l),
			"sch_tbf", e);
	/* The filter goes with its place. */
	if (r < 0 && made >= 0)
		take_away(sock, &entrance, NULL);
	return r;
}
