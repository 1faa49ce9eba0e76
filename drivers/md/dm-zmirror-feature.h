/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The features of a table line: words `name` or `name:value` after the region size.
 */
#ifndef DM_ZMIRROR_FEATURE_H
#define DM_ZMIRROR_FEATURE_H

#include "dm-zmirror.h"

#define ZM_FEATURES	16	/* how many there are */
#define ZM_FEATURE_SIZE	32	/* bytes, the longest word */

/**
 * zm_parse_features - take the features of a table line
 * @zm: a mirror that is being constructed
 * @as: what is left of the line: nothing, or their number and the words
 *
 * Context: may sleep.
 * Return: 0, or -EINVAL or -ENOMEM with the target's error set.
 */
int zm_parse_features(struct zmirror *zm, struct dm_arg_set *as);

/**
 * zm_message_set - set a feature by message
 * @zm: the mirror, whose message_lock is held
 * @name: the feature
 * @value: what follows the colon in a table line
 *
 * Context: may sleep.
 * Return: 0; or, having logged why, -EINVAL or -ENOMEM.
 */
int zm_message_set(struct zmirror *zm, const char *name, const char *value);

/**
 * zm_feature_word - the word of a feature as it is now
 * @zm: the mirror; its state_lock is held once it is constructed
 * @nr: number of the feature, below ZM_FEATURES
 * @word: ZM_FEATURE_SIZE bytes; empty when it is the default
 *
 * Context: any.
 */
void zm_feature_word(struct zmirror *zm, unsigned int nr, char *word);

/**
 * zm_name_len - length of a feature's name
 * @name: the name, with or without a colon and a value after it
 *
 * Context: any.
 * Return: bytes, without the colon.
 */
size_t zm_name_len(const char *name);

#endif
