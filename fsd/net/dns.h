/*
 * The DNS answerer: a UDP and a TCP socket on loopback, served by the loop. What is answered: net/dns_message.h. No answer is longer than
 * UDP carries; TCP is for those who ask by it all the same (RFC 7766 5, systemd-resolved after datagrams were lost).
 *
 * Loop thread only. Never blocks: a datagram that can't be sent now is dropped, as datagrams are. There are DNS_CLIENTS_MAX connections at
 * most (one more is closed at once), each for DNS_CLIENT_USEC from its beginning or its last question.
 */
#ifndef BANGER_NET_DNS_H
#define BANGER_NET_DNS_H

#include <systemd/sd-event.h>

#include "banger/cleanup.h"
#include "banger/err.h"
#include "net/dns_message.h"

#define DNS_CLIENTS_MAX 16
#define DNS_CLIENT_USEC 5000000

struct dns;

/* ZONE is copied; its callbacks and their user outlive the answerer. It listens nowhere yet. */
int dns_new(sd_event *event, const struct dns_zone *zone, struct dns **ret, struct err *e);
/* NULL is fine. */
struct dns *dns_free(struct dns *d);

/*
 * Listens at PLACE from now on, and nowhere else; "": nowhere. -EADDRINUSE, -EACCES and the like: nowhere either, and dns_text()
 * says why.
 */
int dns_listen(struct dns *d, const char *place, struct err *e);

bool dns_listens(const struct dns *d);
/* One line for whoever wants to know: how it is asked, or why it can't be. The caller's; NULL: no memory. */
char *dns_text(const struct dns *d);

#endif
