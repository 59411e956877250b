#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "elements.h"

#define NFT(type)    (NFNL_SUBSYS_NFTABLES << 8 | (type))
#define BATCH_MAX    16384
#define ANSWER_MAX   8192
#define MESSAGE_ROOM 2048

_Static_assert(ELEMENTS_KEYS_MAX *(ELEMENTS_KEY_MAX + 32) + 256 < MESSAGE_ROOM, "a set's message fits");
_Static_assert(2 * ELEMENTS_SETS_MAX * MESSAGE_ROOM <= BATCH_MAX, "so do all");

struct elements {
	struct nl_sock *sock;
	uint32_t seq;
};

struct batch {
	_Alignas(NLMSG_ALIGNTO) char data[BATCH_MAX];
	size_t n;
};

int elements_new(struct elements **ret, struct err *e)
{
	_cleanup_(elements_freep) struct elements *el = calloc(1, sizeof(*el));

	if (!el || !(el->sock = nl_socket_alloc()))
		return err_sys(e, -ENOMEM, "nftables");
	if (nl_connect(el->sock, NETLINK_NETFILTER) < 0)
		return err_set(e, -EIO, "nftables cannot be reached");
	*ret = TAKE_PTR(el);
	return 0;
}

struct elements *elements_free(struct elements *el)
{
	if (el) {
		nl_socket_free(el->sock);
		free(el);
	}
	return NULL;
}

uint32_t elements_next(uint32_t generation)
{
	/* net/netfilter/nf_tables_api.c, nf_tables_commit(): 0 is passed over. */
	return generation + 1 ? generation + 1 : 1;
}

/* NULL: no memory. */
static struct nl_msg *message(const struct elements *el, int type, int flags, int family, uint16_t resource)
{
	const struct nfgenmsg head = {
		.nfgen_family = (uint8_t)family, .version = NFNETLINK_V0, .res_id = htons(resource)};
	struct nl_msg *m = nlmsg_alloc_size(MESSAGE_ROOM);

	if (m && nlmsg_put(m, NL_AUTO_PORT, el->seq, type, 0, NLM_F_REQUEST | flags) &&
		nlmsg_append(m, (void *)&head, sizeof(head), NLMSG_ALIGNTO) == 0)
		return m;
	nlmsg_free(m);
	return NULL;
}

/* M is taken. */
static int append(struct batch *b, struct nl_msg *m)
{
	const struct nlmsghdr *h = m ? nlmsg_hdr(m) : NULL;
	int r = h && b->n + NLMSG_ALIGN(h->nlmsg_len) <= sizeof(b->data) ? 0 : -ENOMEM;

	if (r == 0) {
		memcpy(b->data + b->n, h, h->nlmsg_len);
		b->n += NLMSG_ALIGN(h->nlmsg_len);
	}
	nlmsg_free(m);
	return r;
}

static int put_key(struct nl_msg *m, const void *key, size_t size)
{
	struct nlattr *element = nla_nest_start(m, NFTA_LIST_ELEM | NLA_F_NESTED), *value;

	if (!element || !(value = nla_nest_start(m, NFTA_SET_ELEM_KEY | NLA_F_NESTED)) ||
		nla_put(m, NFTA_DATA_VALUE, (int)size, key) < 0)
		return -ENOMEM;
	nla_nest_end(m, value);
	nla_nest_end(m, element);
	return 0;
}

static int append_set(const struct elements *el, struct batch *b, const char *table,
	const struct elements_set *set, int type, int flags)
{
	struct nl_msg *m = message(el, NFT(type), flags, set->family, 0);
	struct nlattr *list;
	int r = -ENOMEM;

	if (m && nla_put_string(m, NFTA_SET_ELEM_LIST_TABLE, table) == 0 &&
		nla_put_string(m, NFTA_SET_ELEM_LIST_SET, set->name) == 0 &&
		(list = nla_nest_start(m, NFTA_SET_ELEM_LIST_ELEMENTS | NLA_F_NESTED))) {
		r = 0;
		for (size_t i = 0; r == 0 && i < set->n; i++)
			r = put_key(m, (const char *)set->keys + i * set->size, set->size);
		nla_nest_end(m, list);
	}
	if (r < 0) {
		nlmsg_free(m);
		return r;
	}
	return append(b, m);
}

static int append_end(const struct elements *el, struct batch *b, int type, uint32_t generation)
{
	struct nl_msg *m = message(el, type, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);

	if (m && generation && nla_put_u32(m, NFNL_BATCH_GENID, htonl(generation)) < 0) {
		nlmsg_free(m);
		return -ENOMEM;
	}
	return append(b, m);
}

static int fill(const struct elements *el, struct batch *b, const char *table,
	const struct elements_set *sets, size_t n, enum elements_what what, uint32_t generation)
{
	int create = NLM_F_CREATE | (what == ELEMENTS_NEW ? NLM_F_EXCL : 0);
	int r = append_end(el, b, NFNL_MSG_BATCH_BEGIN, generation);

	for (size_t i = 0; r == 0 && i < n; i++) {
		/* The last alone is answered when all went well: its answer comes when all of it is done. */
		int ack = i == n - 1 ? NLM_F_ACK : 0;

		/* To put them in first makes taking them out never fail for their not being there. */
		r = append_set(el, b, table, &sets[i], NFT_MSG_NEWSETELEM,
			create | (what == ELEMENTS_OUT ? 0 : ack));
		if (r == 0 && what == ELEMENTS_OUT)
			r = append_set(el, b, table, &sets[i], NFT_MSG_DELSETELEM, ack);
	}
	return r == 0 ? append_end(el, b, NFNL_MSG_BATCH_END, 0) : r;
}

/* An error's code, 0 for an ACK, or for TYPE, whose attributes are in ANSWER then. */
static int ask(struct elements *el, const struct batch *b, int type, struct nlattr **attributes, int max,
	char answer[ANSWER_MAX])
{
	int r = nl_sendto(el->sock, (void *)b->data, b->n);

	if (r < 0)
		return r == -NLE_NOMEM ? -ENOMEM : -EIO;
	for (;;) {
		/* What was sent is done, and answered, when nl_sendto() returns. */
		ssize_t n = recv(nl_socket_get_fd(el->sock), answer, ANSWER_MAX, MSG_DONTWAIT);
		int left = (int)n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		for (struct nlmsghdr *h = (void *)answer; nlmsg_ok(h, left); h = nlmsg_next(h, &left)) {
			/* What is left of an earlier answer: an error is told of each message that has one. */
			if (h->nlmsg_seq != el->seq)
				continue;
			if (h->nlmsg_type == NLMSG_ERROR && nlmsg_valid_hdr(h, sizeof(struct nlmsgerr)))
				return ((const struct nlmsgerr *)nlmsg_data(h))->error;
			if (h->nlmsg_type == type)
				return nlmsg_parse(h, sizeof(struct nfgenmsg), attributes, max, NULL) < 0
					       ? -EBADMSG
					       : 0;
		}
	}
}

int elements_generation(struct elements *el, uint32_t *ret, struct err *e)
{
	struct nlattr *attributes[NFTA_GEN_MAX + 1] = {NULL};
	_Alignas(NLMSG_ALIGNTO) char answer[ANSWER_MAX];
	struct batch b = {.n = 0};
	int r;

	el->seq++;
	r = append(&b, message(el, NFT(NFT_MSG_GETGEN), 0, AF_UNSPEC, 0));
	if (r == 0)
		r = ask(el, &b, NFT(NFT_MSG_NEWGEN), attributes, NFTA_GEN_MAX, answer);
	if (r == 0 && !attributes[NFTA_GEN_ID])
		r = -EBADMSG;
	if (r < 0)
		return err_sys(e, r, "nftables");
	*ret = ntohl(nla_get_u32(attributes[NFTA_GEN_ID]));
	return 0;
}

int elements_change(struct elements *el, const char *table, const struct elements_set *sets, size_t n,
	enum elements_what what, uint32_t generation, struct err *e)
{
	_Alignas(NLMSG_ALIGNTO) char answer[ANSWER_MAX];
	struct batch b = {.n = 0};
	int r;

	el->seq++;
	r = fill(el, &b, table, sets, n, what, generation);
	if (r == 0)
		r = ask(el, &b, 0, NULL, 0, answer);
	if (r == -ERESTART)
		r = -ESTALE;
	return r < 0 ? err_sys(e, r, "nftables") : 0;
}
