#include <errno.h>
#include <sys/socket.h>

#include "banger/cleanup.h"
#include "banger/dial_proto.h"
#include "banger/io.h"
#include "banger/vsock.h"
#include "dial.h"

int dial_serve(int fd)
{
	for (;;) {
		struct dial_reply reply;
		struct dial_request q;
		_cleanup_close_ int guest = -EBADF;
		ssize_t n = recv(fd, &q, sizeof(q), MSG_TRUNC);
		int r;

		if (n == 0 || (n < 0 && errno != EINTR))
			return n < 0 ? -errno : 0;
		if (n < 0)
			continue;
		if (n != sizeof(q))
			return -EBADMSG;
		reply.code = vsock_begin(q.cid, q.port, &guest);
		r = io_send_fds(fd, &reply, sizeof(reply), &guest, reply.code == 0);
		if (r < 0)
			return r;
	}
}
