#!/bin/sh
# Makes the namespace and its search attributes; harmless when repeated.
# Needs TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE, both read by the temporal command itself.
set -eu

temporal operator namespace describe >/dev/null 2>&1 ||
  temporal operator namespace create --retention 30d

known=$(temporal operator search-attribute list)
for attribute in AccountId=Keyword BillingStatus=Keyword NextDueAt=Datetime Plan=Keyword; do
  name=${attribute%=*}
  type=${attribute#*=}
  if ! printf '%s\n' "$known" | grep -Eq "^ *$name +"; then
    temporal operator search-attribute create --name "$name" --type "$type"
  elif ! printf '%s\n' "$known" | grep -Eq "^ *$name +$type *$"; then
    echo "search attribute $name exists with another type than $type" >&2
    exit 1
  fi
done
