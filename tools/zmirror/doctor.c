// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a machine needs for mirrors, and what it lacks, and what was begun on it; see
 * doctor.h.
 */
#include "doctor.h"
#include "dm.h"
#include "format.h"
#include "lvm.h"
#include "mirror.h"
#include "zmirror.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define EFI_GLOBAL	"8be4df61-93ca-11d2-aa0d-00e098032b8c"
#define SIGNATURE_END	"~Module signature appended~\n"

/*
 * ------------------------------------------------------------------------
 * Telling
 * ------------------------------------------------------------------------
 */

static void tell_ok(const char *what)
{
	printf("ok        %s\n", what);
}

/* Something that only some need is not missing. */
static void tell_optional(const char *what, const char *todo)
{
	printf("optional  %s\n          %s\n", what, todo);
}

static int tell_missing(const char *what, const char *todo)
{
	printf("missing   %s\n          %s\n", what, todo);
	return 1;
}

/*
 * ------------------------------------------------------------------------
 * Files
 * ------------------------------------------------------------------------
 */

static bool is_there(const struct zm_doctor *doctor, const char *path)
{
	char *whole = zm_printf("%s%s", doctor->root, path);
	bool there = !access(whole, F_OK);

	free(whole);
	return there;
}

/**
 * struct text - what is in a file
 * @bytes: it, and a byte of zero after it
 * @len: without that byte
 */
struct text {
	char *bytes;
	size_t len;
};

static bool read_file(const struct zm_doctor *doctor, const char *path,
		      struct text *text)
{
	char *whole = zm_printf("%s%s", doctor->root, path);
	FILE *file = fopen(whole, "re");
	size_t len;

	free(whole);
	text->bytes = NULL;
	text->len = 0;
	if (!file)
		return false;
	do {
		text->bytes = zm_realloc(text->bytes, text->len + 65537);
		len = fread(text->bytes + text->len, 1, 65536, file);
		text->len += len;
	} while (len);
	text->bytes[text->len] = '\0';
	fclose(file);
	return true;
}

static bool has_program(const struct zm_doctor *doctor, const char *name)
{
	static const char * const folders[] = {
		"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin",
		"/sbin", "/bin",
	};
	bool found = false;
	size_t i;

	for (i = 0; !found && i < sizeof(folders) / sizeof(*folders); i++) {
		char *path = zm_printf("%s/%s", folders[i], name);

		found = is_there(doctor, path);
		free(path);
	}
	return found;
}

/*
 * ------------------------------------------------------------------------
 * The kernel and the module
 * ------------------------------------------------------------------------
 */

static int check_kernel(const struct zm_doctor *doctor)
{
	unsigned int major = 0, minor = 0;
	char *what = zm_printf("Linux %s", doctor->release);
	int missing = 0;

	sscanf(doctor->release, "%u.%u", &major, &minor);
	if (major > 6 || (major == 6 && minor >= 1))
		tell_ok(what);
	else
		missing = tell_missing(what, "dm-zmirror needs Linux 6.1 or later");
	free(what);
	return missing;
}

/*
 * The path of the module's file below /lib/modules/RELEASE, from the list that depmod
 * makes: "updates/dkms/dm-zmirror.ko.xz: kernel/...". NULL when it is not in there.
 */
static char *find_module(const struct zm_doctor *doctor)
{
	char *path = zm_printf("/lib/modules/%s/modules.dep", doctor->release);
	char *found = NULL, *line, *save = NULL;
	struct text text;

	if (read_file(doctor, path, &text)) {
		for (line = strtok_r(text.bytes, "\n", &save); line && !found;
		     line = strtok_r(NULL, "\n", &save)) {
			line[strcspn(line, ":")] = '\0';
			if (strstr(line, "/dm-zmirror.ko"))
				found = zm_printf("/lib/modules/%s/%s",
						  doctor->release, line);
		}
	}
	free(text.bytes);
	free(path);
	return found;
}

/* Why DKMS has not built it is said by what it lacks. */
static int tell_no_module(const struct zm_doctor *doctor)
{
	char *build = zm_printf("/lib/modules/%s/build", doctor->release);
	bool headers = is_there(doctor, build);
	char *todo;
	int missing;

	if (!headers)
		todo = zm_printf("install linux-headers-%s, then dm-zmirror-dkms",
				 doctor->release);
	else if (is_there(doctor, "/var/lib/dkms/dm-zmirror"))
		todo = zm_printf("DKMS has not built it: dkms autoinstall -k %s, and see what it says",
				 doctor->release);
	else
		todo = zm_strdup("install dm-zmirror-dkms, or make install in its sources");
	missing = tell_missing("the module dm-zmirror for this kernel", todo);
	free(todo);
	free(build);
	return missing;
}

static int check_module(const struct zm_doctor *doctor)
{
	char *path, *what;

	if (doctor->version) {
		what = zm_printf("the target zmirror %s, loaded", doctor->version);
		tell_ok(what);
		free(what);
		return 0;
	}
	path = find_module(doctor);
	if (!path)
		return tell_no_module(doctor);
	what = zm_printf("the module, which is loaded when it is needed: %s", path);
	tell_ok(what);
	free(what);
	free(path);
	return 0;
}

/*
 * ------------------------------------------------------------------------
 * Secure Boot
 * ------------------------------------------------------------------------
 */

/* An EFI variable has four bytes of attributes before its value. */
static bool secure_boot(const struct zm_doctor *doctor)
{
	struct text text;
	bool on;

	on = read_file(doctor, "/sys/firmware/efi/efivars/SecureBoot-" EFI_GLOBAL,
		       &text) && text.len == 5 && text.bytes[4] == 1;
	free(text.bytes);
	return on;
}

/* What is compressed is taken for signed, for DKMS signs before it compresses. */
static bool is_signed(const struct zm_doctor *doctor, const char *path)
{
	static const char end[] = SIGNATURE_END;
	size_t len = sizeof(end) - 1;
	struct text text;
	bool is = true;

	if (!strcmp(path + strlen(path) - 3, ".ko"))
		is = read_file(doctor, path, &text) && text.len > len &&
		     !memcmp(text.bytes + text.len - len, end, len);
	else
		text.bytes = NULL;
	free(text.bytes);
	return is;
}

/*
 * The list of the machine's owner has certificates as they are. Only root may read it, and
 * not every firmware has it. Returns 1 or 0, or -1 when it cannot be seen.
 */
static int is_enrolled(const struct zm_doctor *doctor, const char *key)
{
	struct text cert, list;
	bool readable = read_file(doctor, key, &cert) && cert.len;
	int is = -1;

	readable = read_file(doctor, "/sys/firmware/efi/mok-variables/MokListRT", &list) &&
		   readable;
	if (readable)
		is = !!memmem(list.bytes, list.len, cert.bytes, cert.len);
	free(cert.bytes);
	free(list.bytes);
	return is;
}

static int check_key(const struct zm_doctor *doctor, const char *path)
{
	static const char key[] = "/var/lib/dkms/mok.pub";
	int enrolled;

	if (!is_signed(doctor, path))
		return tell_missing("a signature of the module, which Secure Boot wants",
				    "have DKMS sign it: see install.md of dm-zmirror");
	if (!is_there(doctor, key)) {
		tell_optional("Secure Boot is on, and who signed the module is not known",
			      "if modprobe dm-zmirror fails: mokutil --import YOUR-KEY, and boot again");
		return 0;
	}
	enrolled = is_enrolled(doctor, key);
	if (enrolled < 0) {
		tell_optional("Secure Boot is on, and whether it takes the key of DKMS cannot be seen",
			      "as root: mokutil --test-key /var/lib/dkms/mok.pub");
		return 0;
	}
	if (!enrolled)
		return tell_missing("the key of DKMS among those that Secure Boot takes",
				    "mokutil --import /var/lib/dkms/mok.pub, and boot again");
	tell_ok("Secure Boot: the module is signed, and the key of DKMS is enrolled");
	return 0;
}

static int check_secure_boot(const struct zm_doctor *doctor)
{
	char *path;
	int missing = 0;

	if (!secure_boot(doctor)) {
		tell_ok("Secure Boot is off, and modules need no signature");
		return 0;
	}
	path = find_module(doctor);
	if (doctor->version)
		tell_ok("Secure Boot: the module was taken");
	else if (path)
		missing = check_key(doctor, path);
	free(path);
	return missing;
}

/*
 * ------------------------------------------------------------------------
 * Other programs
 * ------------------------------------------------------------------------
 */

static void check_programs(const struct zm_doctor *doctor)
{
	if (has_program(doctor, "thin_dump"))
		tell_ok("thin_dump, which tells what a thin source has as zeroes");
	else
		tell_optional("thin_dump: without it all of a thin source is read",
			      "install thin-provisioning-tools");
	if (has_program(doctor, "lvm"))
		tell_ok("LVM, for zmirror migrate --lvm");
	else
		tell_optional("LVM: there are no volumes of it to move",
			      "install lvm2");
	if (is_there(doctor, "/run/udev/control"))
		tell_ok("udev is running");
	else
		tell_optional("udev does not run: links under /dev are zmirror's own affair",
			      "nothing need be done");
}

int zm_doctor(const struct zm_doctor *doctor)
{
	int missing = check_kernel(doctor);

	missing += check_module(doctor);
	missing += check_secure_boot(doctor);
	check_programs(doctor);
	return missing ? ZM_FAILED : ZM_OK;
}

/*
 * ------------------------------------------------------------------------
 * What was begun
 * ------------------------------------------------------------------------
 */

static void check_mirror(const struct zm_mirror *mirror)
{
	struct zm_lvm_move move;

	if (zm_lvm_find_begun(mirror, &move) || !move.old_name)
		return;
	printf("begun     %s: zmirror migrate --lvm has ended early, and LVM calls its old place %s/%s\n",
	       mirror->dev.name, move.source.vg, move.source.name);
	printf("          to finish: zmirror migrate --lvm %s %s\n",
	       zm_word(mirror->dev.name), zm_word(mirror->dest.name));
	if (!zm_has_pivoted(mirror))
		printf("          to give it up: zmirror cancel %s\n",
		       zm_word(mirror->dev.name));
	zm_lvm_free(&move);
}

static void check_mirrors(void)
{
	struct zm_mirror *mirrors = NULL;
	size_t nr = 0, i;

	if (zm_mirror_list(&mirrors, &nr))
		return;
	for (i = 0; i < nr; i++)
		check_mirror(&mirrors[i]);
	zm_mirror_list_free(mirrors, nr);
}

/* It is loaded by whoever uses it first, and this program only looks. */
static bool has_device_mapper(void)
{
	const struct zm_doctor here = { .root = "" };
	struct text misc;
	bool has = read_file(&here, "/proc/misc", &misc) &&
		   strstr(misc.bytes, "device-mapper");

	free(misc.bytes);
	return has;
}

int zm_cmd_doctor(int argc, char **argv)
{
	static const struct option options[] = { { 0 } };
	struct zm_doctor doctor = { .root = "" };
	struct utsname name;
	char *version = NULL;
	int code;

	if (zm_getopt(argc, argv, "", options) != -1)
		return ZM_USAGE;
	if (optind < argc)
		return zm_error(ZM_USAGE, "doctor takes no argument");
	if (uname(&name))
		return zm_error(ZM_FAILED, "the kernel does not tell its release");
	if (!geteuid() && has_device_mapper())
		version = zm_dm_target_version("zmirror");
	doctor.release = name.release;
	doctor.version = version;
	code = zm_doctor(&doctor);
	if (version)
		check_mirrors();
	free(version);
	return code;
}
