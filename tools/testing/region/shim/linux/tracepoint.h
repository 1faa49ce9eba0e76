/* SPDX-License-Identifier: GPL-2.0-only */
/* Tracepoints, which do nothing here. */
#ifndef SHIM_TRACEPOINT_H
#define SHIM_TRACEPOINT_H

#pragma GCC diagnostic ignored "-Wunused-parameter"

#define TP_PROTO(...)	__VA_ARGS__
#define TRACE_DEFINE_ENUM(name) extern int shim_enum_##name
#define TRACE_EVENT(name, proto, ...) \
	static inline void trace_##name(proto) { } \
	static inline bool trace_##name##_enabled(void) { return false; }
#define DECLARE_EVENT_CLASS(name, ...) extern int shim_class_##name
#define DEFINE_EVENT(class, name, proto, ...) \
	extern int shim_class_##class; \
	static inline void trace_##name(proto) { } \
	static inline bool trace_##name##_enabled(void) { return false; }

#endif
