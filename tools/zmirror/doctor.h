/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a machine needs for mirrors, and what it lacks.
 */
#ifndef ZMIRROR_DOCTOR_H
#define ZMIRROR_DOCTOR_H

/**
 * struct zm_doctor - a machine
 * @root: where its file system begins; empty but in tests
 * @release: of its kernel
 * @version: of the target that is loaded, or NULL
 */
struct zm_doctor {
	const char *root;
	const char *release;
	const char *version;
};

/**
 * zm_doctor - tell what a machine has, and what it lacks
 * @doctor: the machine
 *
 * Writes a line for each thing, and a second one that says what to do if it lacks.
 *
 * Return: ZM_OK, or ZM_FAILED when something is missing that no mirror can be without.
 */
int zm_doctor(const struct zm_doctor *doctor);

#endif
