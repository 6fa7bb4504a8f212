/* Access control lists of files, as Linux has them, for tests. */
#ifndef FP_TEST_ACCESS_LIST_H
#define FP_TEST_ACCESS_LIST_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/xattr.h>

/* As the kernel gives it to programs: see acl(5) and linux/posix_acl_xattr.h. */
typedef struct access_entry {
    uint16_t tag, rights;
    uint32_t id;
} access_entry;

typedef struct access_list {
    uint32_t version;
    access_entry entries[5];
} access_list;

enum { OWNER = 1, A_USER = 2, GROUP = 4, MASK = 16, OTHERS = 32, NOBODY = -1 };

#define LIST_OF_FILE   "system.posix_acl_access"
#define LIST_OF_FOLDER "system.posix_acl_default"

/* User 1234 may `user`, the group `group`, and neither more than `mask`. */
static inline access_list list_of(uint16_t user, uint16_t group, uint16_t mask)
{
    return (access_list){2,
                         {{OWNER, 6, (uint32_t)NOBODY},
                          {A_USER, user, 1234},
                          {GROUP, group, (uint32_t)NOBODY},
                          {MASK, mask, (uint32_t)NOBODY},
                          {OTHERS, 0, (uint32_t)NOBODY}}};
}

static inline bool has_list(const char *path, const access_list *expected)
{
    access_list list = {0};
    ssize_t n = getxattr(path, LIST_OF_FILE, &list, sizeof list);
    return expected ? n == (ssize_t)sizeof list && memcmp(&list, expected, sizeof list) == 0
                    : n <= 0;
}

#endif
