/*
 * The work disk's first content: what the image has in /root, which the disk covers.
 */
#ifndef BANGER_GUEST_SEED_H
#define BANGER_GUEST_SEED_H

/*
 * Copies the folder FROM (descriptor) into TO, unless that was done before (an attribute of TO says so): files, folders, links, devices, with
 * owners, modes, times and extended attributes. What TO has already stays as it is. What can't be copied is said on the console, and left
 * out: no reason not to start.
 */
void seed_once(int from, int to);

#endif
