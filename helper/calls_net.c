/* The calls about the guests' network: the bridge, taps, NAT. */
#include <errno.h>

#include "calls_state.h"
#include "pool.h"

static struct nat_guest guest_of(const struct helper_state *s, const struct journal_vm *slot)
{
	struct nat_guest g = {.vm = slot->vm, .address = slot->address};
	uint8_t prefix[8];

	/* Where this host has no IPv6 its rules stand all the same: it may have it tomorrow. */
	bridge_prefix6(s->bridge, prefix);
	helper_vm_ip6(prefix, slot->vm, g.ip6);
	return g;
}

static int let_out(struct helper_state *s, const struct journal_vm *slot, int on, struct err *e)
{
	const struct nat_guest g = guest_of(s, slot);

	return nat_set(s->nat, &g, on, e);
}

static int let_send(struct helper_state *s, const struct journal_vm *slot, int on, struct err *e)
{
	const struct nat_guest g = guest_of(s, slot);

	return nat_tap(s->nat, &g, on, e);
}

/* The guests that run, into a bridge or tables that were made anew. */
static int rejoin_all(struct helper_state *s, struct err *e)
{
	int r = 0;

	for (struct journal_vm *v = journal_next(s->journal, 0); r == 0 && v;
		v = journal_next(s->journal, v->vm)) {
		if (v->tap == JOURNAL_LIVE) {
			r = bridge_rejoin(s->bridge, v->vm, v->ifindex, e);
			if (r == 0)
				r = let_send(s, v, 1, e);
		}
		if (r == 0 && v->nat == JOURNAL_LIVE)
			r = let_out(s, v, 1, e);
	}
	return r;
}

static int net_up(struct helper_state *s, struct err *e)
{
	struct journal_head *head = journal_head(s->journal);
	int fresh = head->net == JOURNAL_NONE;
	int whole = !fresh && nat_is_up(s->nat);
	uint32_t before = head->bridge_ifindex;
	int r = bridge_up(s->bridge, e);

	if (r < 0)
		return r;
	r = fresh || !nat_is_whole(s->nat) ? nat_up(s->nat, fresh, e) : 0;
	/* Tables that were there before us are never taken for ours later. */
	if (r < 0 && fresh)
		bridge_down(s->bridge, NULL);
	if (r == 0 && !fresh && (!whole || head->bridge_ifindex != before))
		r = rejoin_all(s, e);
	return r;
}

int call_net_up(struct call *c, struct err *e)
{
	return net_up(c->s, e);
}

int call_net_down(struct call *c, struct err *e)
{
	int r;

	for (struct journal_vm *v = journal_next(c->s->journal, 0); v; v = journal_next(c->s->journal, v->vm))
		if (v->tap != JOURNAL_NONE)
			return err_set(e, -EBUSY, "VM %u has a tap on %s", v->vm, c->s->inst->bridge);
	if (journal_head(c->s->journal)->net == JOURNAL_NONE)
		return 0;
	r = nat_down(c->s->nat, e);
	return r == 0 ? bridge_down(c->s->bridge, e) : r;
}

/* ADDRESS is one that a guest can have, and no other VM has. */
static int check_address(struct helper_state *s, uint32_t vm, uint32_t address, struct err *e)
{
	uint32_t network = bridge_network(s->bridge);

	if (address <= network + 1 || address >= network + (1u << (32 - POOL_PREFIX)) - 1)
		return err_set(e, -EINVAL, "an address outside of the instance's network");
	for (struct journal_vm *v = journal_next(s->journal, 0); v; v = journal_next(s->journal, v->vm)) {
		if ((v->nat == JOURNAL_NONE && v->tap == JOURNAL_NONE) ||
			(v->vm == vm) != (v->address != address))
			continue;
		return v->vm == vm ? err_set(e, -EBUSY, "VM %u has another address", vm)
				   : err_set(e, -EADDRINUSE, "VM %u has that address", v->vm);
	}
	return 0;
}

int calls_drop_tap(struct helper_state *s, struct journal_vm *slot, struct err *e)
{
	int r;

	if (slot->tap == JOURNAL_NONE)
		return 0;
	slot->tap = JOURNAL_DELETING;
	r = journal_write(s->journal, slot, e);
	if (r == 0 && journal_head(s->journal)->net == JOURNAL_LIVE)
		r = let_send(s, slot, 0, e);
	if (r == 0)
		r = bridge_untap(s->bridge, slot->vm, slot->ifindex, e);
	if (r < 0)
		return r;
	slot->tap = JOURNAL_NONE;
	return journal_write(s->journal, slot, e);
}

int calls_drop_nat(struct helper_state *s, struct journal_vm *slot, struct err *e)
{
	int r;

	if (slot->nat == JOURNAL_NONE)
		return 0;
	slot->nat = JOURNAL_DELETING;
	r = journal_write(s->journal, slot, e);
	if (r == 0 && journal_head(s->journal)->net == JOURNAL_LIVE)
		r = let_out(s, slot, 0, e);
	if (r < 0)
		return r;
	slot->nat = JOURNAL_NONE;
	return journal_write(s->journal, slot, e);
}

int call_tap(struct call *c, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	struct helper_state *s = c->s;
	struct journal_vm *slot = journal_find(s->journal, c->q->vm);
	struct held *h;
	int r;

	if ((r = calls_idle(s, slot, e)) < 0 || (r = calls_hold(s, c->q->vm, &h, e)) < 0)
		return r;
	/* One made before and not used goes with its descriptor. */
	h->tap_fd = close_fd(h->tap_fd);
	if (slot && (r = calls_drop_tap(s, slot, e)) < 0)
		return r;
	if ((r = check_address(s, c->q->vm, c->q->u.tap.address, e)) < 0 ||
		(r = journal_take(s->journal, c->q->vm, &slot, e)) < 0)
		return r;
	slot->tap = JOURNAL_INTENT;
	slot->ifindex = 0;
	slot->address = c->q->u.tap.address;
	r = journal_write(s->journal, slot, e);
	if (r == 0)
		r = bridge_tap(s->bridge, c->q->vm, &fd, &slot->ifindex, e);
	if (r == 0)
		r = let_send(s, slot, 1, e);
	if (r == 0) {
		slot->tap = JOURNAL_LIVE;
		r = journal_write(s->journal, slot, e);
	}
	if (r < 0) {
		calls_drop_tap(s, slot, NULL);
		return r;
	}
	h->tap_fd = TAKE_FD(fd);
	return 0;
}

int call_nat(struct call *c, struct err *e)
{
	struct journal_vm *slot;
	int r;

	if (c->q->u.nat.on > 1)
		return err_set(e, -EINVAL, "on is 0 or 1");
	r = check_address(c->s, c->q->vm, c->q->u.nat.address, e);
	if (r < 0)
		return r;
	if (!c->q->u.nat.on) {
		slot = journal_find(c->s->journal, c->q->vm);
		return slot ? calls_drop_nat(c->s, slot, e) : 0;
	}
	r = journal_take(c->s->journal, c->q->vm, &slot, e);
	if (r < 0)
		return r;
	slot->nat = JOURNAL_INTENT;
	slot->address = c->q->u.nat.address;
	r = journal_write(c->s->journal, slot, e);
	/* Tables that somebody has taken away, or that a helper before this one made with less in them. */
	if (r == 0 && journal_head(c->s->journal)->net == JOURNAL_LIVE && !nat_is_up(c->s->nat))
		r = net_up(c->s, e);
	if (r == 0)
		r = bridge_uplinks(c->s->bridge, e);
	if (r == 0)
		r = let_out(c->s, slot, 1, e);
	if (r < 0)
		return r;
	slot->nat = JOURNAL_LIVE;
	return journal_write(c->s->journal, slot, e);
}

int call_rate(struct call *c, struct err *e)
{
	struct journal_vm *slot = journal_find(c->s->journal, c->q->vm);
	uint64_t rate = c->q->u.rate.bytes;

	if (rate && (rate < HELPER_RATE_MIN || rate > HELPER_RATE_MAX))
		return err_set(e, -ERANGE, "a rate out of its limits");
	if (!slot || slot->tap != JOURNAL_LIVE)
		return err_set(e, -ESRCH, "VM %u has no tap", c->q->vm);
	return bridge_rate(c->s->bridge, slot->vm, slot->ifindex, rate, e);
}
