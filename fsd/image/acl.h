/* Access control lists as they stand in extended attributes ("system.posix_acl_*"; linux/posix_acl_xattr.h). */
#ifndef BANGER_IMAGE_ACL_H
#define BANGER_IMAGE_ACL_H

#include <stdbool.h>
#include <stddef.h>

bool acl_is_name(const char *xattr);
/*
 * The N bytes are what a kernel would take (posix_acl_valid() of Linux): the library that converts them for the disk looks at no more than
 * their version. A folder alone has a list for what comes to be in it.
 */
bool acl_is_valid(const char *xattr, const void *value, size_t n, bool folder);

#endif
