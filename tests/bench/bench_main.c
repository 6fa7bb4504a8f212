/* The benchmark program: reads its arguments, runs the groups of figures, prints one table in
 * Markdown with where and when it was measured. Started by run.sh; measures nothing itself. */
#include "bench.h"
#include "peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "usage: bench --dir DIR [--quick] [--only P2,P5]\n"
    "  --dir DIR   an existing folder on a disk (not tmpfs) for some GB of temporary files\n"
    "  --quick     smaller sizes and fewer rounds: to see that it works, not how fast\n"
    "  --only IDS  only these of P1 P2 P3 P5 P6 P7 P8 P9 P12 VERIFY ORIGIN\n"
    "for peers.py, with row sets in folders:\n"
    "       bench --export-backup BACKUP FOLDER\n"
    "       bench --export-synthetic FOLDER DATES CODES\n"
    "       bench --stores FOLDER DIR\n";

static void print_processor(void)
{
    FILE *info = fopen("/proc/cpuinfo", "r");
    char line[512];

    while (info && fgets(line, sizeof(line), info)) {
        char *name = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && name) {
            name[strcspn(name, "\n")] = '\0';
            printf("%s, ", name + 2);
            break;
        }
    }
    if (info) {
        fclose(info);
    }
    printf("%ld processors", sysconf(_SC_NPROCESSORS_ONLN));
}

static const char *file_system(const char *dir)
{
    struct statfs fs;

    if (statfs(dir, &fs) != 0) {
        bench_die("no folder %s: %s", dir, strerror(errno));
    }
    switch ((unsigned long)fs.f_type) {
    case 0xef53:
        return "ext4";
    case 0x58465342:
        return "xfs";
    case 0x9123683e:
        return "btrfs";
    case 0x794c7630:
        return "overlayfs";
    case 0x01021994:
        return "tmpfs, which is NO DISK: durability costs nothing here";
    default:
        return "a file system of another kind";
    }
}

static void print_machine(const bench_context *context)
{
    struct utsname system;
    char day[32] = "";
    time_t now = time(NULL);
    struct tm utc;

    if (uname(&system) != 0 || !gmtime_r(&now, &utc)) {
        bench_die("can't tell the system or the date");
    }
    strftime(day, sizeof(day), "%Y-%m-%d", &utc);
    printf("Measured %s on ", day);
    print_processor();
    printf(", %s %s, %s; ", system.sysname, system.release, file_system(context->dir));
#if defined(__clang__)
    printf("clang %d.%d", __clang_major__, __clang_minor__);
#else
    printf("gcc %d.%d", __GNUC__, __GNUC_MINOR__);
#endif
    printf(", libfacpool %s%s.\n\n", facpool_version(), context->quick ? ", --quick" : "");
}

static void print_peers(void)
{
    const peer_store *peers[] = {&peer_sqlite, &peer_lmdb, &peer_raw};

    puts(
        "Ours and the peer run in turns; a cell is the median (least to most of the rounds).\n"
        "10 M tasks are 2,000 dates x 5,000 codes with 3 factors: a z-score, a 2-decimal price, a\n"
        "rank. Stores are compared at the same durability: none (no sync until the end), group (a\n"
        "sync every 100 ms), batch (a sync a block of ours, a transaction of as many rows of the\n"
        "peer's); computing the rows, closing and a last sync are inside the time. Peers:");
    for (size_t i = 0; i < sizeof(peers) / sizeof(peers[0]); i++) {
        if (peers[i]->load) {
            printf("- %s%s%s: %s\n", peers[i]->name, peers[i]->version[0] ? " " : "",
                   peers[i]->version, peers[i]->how);
        } else {
            printf("- %s: was not there when this was built, NOT COMPARED\n", peers[i]->name);
        }
    }
    putchar('\n');
}

static void read_arguments(bench_context *context, int n, char **arguments)
{
    for (int i = 1; i < n; i++) {
        if (strcmp(arguments[i], "--quick") == 0) {
            context->quick = true;
        } else if (strcmp(arguments[i], "--only") == 0 && i + 1 < n) {
            context->only = arguments[++i];
        } else if (strcmp(arguments[i], "--dir") == 0 && i + 1 < n) {
            context->dir = arguments[++i];
        } else {
            fputs(usage, stderr);
            exit(2);
        }
    }
    if (!context->dir) {
        fputs(usage, stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    bench_context context = {0};
    char program[4096] = "";

    if (argc == 5 && strcmp(argv[1], "--memory-child") == 0) {
        return bench_memory_child(argv[2], strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10));
    }
    if (argc == 5 && strcmp(argv[1], "--export-synthetic") == 0) {
        return bench_export_synthetic(argv[2], strtoul(argv[3], NULL, 10),
                                      strtoul(argv[4], NULL, 10));
    }
    if (argc == 4 && strcmp(argv[1], "--export-backup") == 0) {
        return bench_export_backup(argv[2], argv[3]);
    }
    if (argc == 4 && strcmp(argv[1], "--stores") == 0) {
        return bench_stores_round(argv[2], argv[3]);
    }
    read_arguments(&context, argc, argv);
    if (readlink("/proc/self/exe", program, sizeof(program) - 1) < 0) {
        bench_die("can't tell my own name: %s", strerror(errno));
    }
    context.program = program;
    bench_compute(&context);
    bench_write(&context);
    bench_read(&context);
    bench_verify(&context);
    print_machine(&context);
    print_peers();
    bench_print_table();
    bench_origin(&context);
    return EXIT_SUCCESS;
}
