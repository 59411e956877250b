#include <endian.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <string.h>

#include "image/acl.h"

#define ACCESS  "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"

bool acl_is_name(const char *xattr)
{
	return strcmp(xattr, ACCESS) == 0 || strcmp(xattr, DEFAULT) == 0;
}

/* In the order of their tags, which are bits: the named ones as often as they like, each of the others once. */
bool acl_is_valid(const char *xattr, const void *value, size_t n, bool folder)
{
	const unsigned once = ACL_USER_OBJ | ACL_GROUP_OBJ | ACL_OTHER, named = ACL_USER | ACL_GROUP;
	struct posix_acl_xattr_header head;
	struct posix_acl_xattr_entry entry;
	unsigned seen = 0, last = 0;

	if ((strcmp(xattr, DEFAULT) == 0 && !folder) || n < sizeof(head) ||
		(n - sizeof(head)) % sizeof(entry) != 0)
		return false;
	memcpy(&head, value, sizeof(head));
	if (le32toh(head.a_version) != POSIX_ACL_XATTR_VERSION)
		return false;
	for (size_t at = sizeof(head); at < n; at += sizeof(entry)) {
		unsigned tag;

		memcpy(&entry, (const char *)value + at, sizeof(entry));
		tag = le16toh(entry.e_tag);
		if (le16toh(entry.e_perm) > (ACL_READ | ACL_WRITE | ACL_EXECUTE) || tag < last ||
			(tag == last && !(tag & named)) || !tag || (tag & (tag - 1)) ||
			!(tag & (once | named | ACL_MASK)))
			return false;
		last = tag;
		seen |= tag;
	}
	return (seen & once) == once && (!(seen & named) || (seen & ACL_MASK));
}
