"""Format of `profiles.json`: the pools and the facts of the models, which people may edit.

A fact is written once: a pool's entry holds only the facts that differ from the model of the same id, so that an edited
price under `models` applies to every pool that does not state its own.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any

from router.errors import CheckpointError, PoolError, known_names, quoted
from router.pools.models import ModelFacts, System
from router.pools.pool import Candidate, Pool, pool_from_json, pool_to_json

_FACTS = tuple(each.name for each in fields(ModelFacts))


def profiles_to_json(models: Mapping[str, ModelFacts], pools: Mapping[str, Pool]) -> str:
    """Readable JSON, which `profiles_from_json` reads back. Raises PoolError as `pool_to_json`."""
    facts = {name: models[name].to_json() for name in sorted(models)}
    written = [pool_to_json(pool) for pool in pools.values()]
    for pool in written:
        pool["models"] = [_own(entry, facts.get(entry["id"], {})) for entry in pool["models"]]
    return json.dumps({"models": list(facts.values()), "pools": written}, indent=1, ensure_ascii=False) + "\n"


def profiles_from_json(
    text: str, systems: Sequence[System], unchanged: bool = False
) -> tuple[dict[str, ModelFacts], dict[str, Pool]]:
    """Facts by model id and pools by name; the CheckpointError for a broken text lists all problems.

    A text that is `unchanged` since `profiles_to_json` wrote it is not checked by the schema, and needs no pydantic.
    """
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"broken JSON: {error}") from error
    if not isinstance(raw, dict) or not all(isinstance(raw.get(key), list) for key in ("models", "pools")):
        raise CheckpointError('must be a JSON object with the lists "models" and "pools"')
    problems: list[str] = []
    models = (
        {each["id"]: _facts(each) for each in raw["models"]} if unchanged else _read_models(raw["models"], problems)
    )
    if not problems:
        _check_names(models, {system.model for system in systems}, problems)
    pools = {} if problems else _read_pools(raw["pools"], models, systems, unchanged, problems)
    if problems:
        raise CheckpointError("\n  ".join([f"{len(problems)} problem{'s' * (len(problems) > 1)}:", *problems]))
    return models, pools


def _facts(raw: Mapping[str, Any]) -> ModelFacts:
    return ModelFacts.from_json({name: raw[name] for name in _FACTS if raw.get(name) is not None})


def _unchanged_pool(raw: Mapping[str, Any], systems: Mapping[str | None, System | None]) -> Pool:
    candidates = (Candidate(_facts(entry), systems[entry.get("profile")]) for entry in raw["models"])
    return Pool(raw["name"], tuple(candidates), raw.get("cost_range_usd"))


def _own(entry: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `entry` that differs from `facts`; null for a fact that only the model has."""
    own = {key: value for key, value in entry.items() if key == "id" or facts.get(key) != value}
    return own | {key: None for key in facts if key not in entry}


def _read_models(raw: Sequence[object], problems: list[str]) -> dict[str, ModelFacts]:
    from router.pools.schema import Facts
    from router.validation import read

    models: dict[str, ModelFacts] = {}
    for number, each in enumerate(raw, 1):
        name = each.get("id") if isinstance(each, dict) else None
        where = f"models, entry {number} ({quoted(name)}): "
        before = len(problems)
        facts = read(Facts, each, where, problems)
        if len(problems) > before:
            continue
        if name in models:
            problems.append(f"{where}id: an earlier entry has it too; every id must be unique")
        models[str(name)] = ModelFacts(**facts.model_dump(exclude_none=True))
    return models


def _check_names(models: Collection[str], wanted: Collection[str], problems: list[str]) -> None:
    """Add a problem for each model without a row in config.json, and for each row without a model."""
    problems += [
        f"models: config.json has a system of {quoted(name)}, whose facts are missing; {known_names(name, models)}"
        for name in sorted(set(wanted) - set(models))
    ]
    problems += [
        f"models: {quoted(name)} is no model of config.json's systems; {known_names(name, wanted)}"
        for name in sorted(set(models) - set(wanted))
    ]


def _read_pools(
    raw: Sequence[Any],
    models: Mapping[str, ModelFacts],
    systems: Sequence[System],
    unchanged: bool,
    problems: list[str],
) -> dict[str, Pool]:
    facts = {name: model.to_json() for name, model in models.items()}
    by_id = {system.id: system for system in systems} | {None: None}
    pools: dict[str, Pool] = {}
    for each in raw:
        merged = _merged(each, facts)
        try:
            pool = _unchanged_pool(merged, by_id) if unchanged else pool_from_json(merged, systems)
        except PoolError as error:
            problems.append(str(error))
            continue
        if pool.name in pools:
            problems.append(f"pool {quoted(pool.name)}: an earlier pool has the name too; every name must be unique")
        pools[pool.name] = pool
    return pools


def _merged(pool: Any, facts: Mapping[str, Mapping[str, Any]]) -> Any:
    """The pool with missing facts of each entry taken from the model of the same id; malformed parts stay."""
    if not isinstance(pool, dict) or not isinstance(pool.get("models"), list):
        return pool
    entries = [
        {**facts.get(entry["id"], {}), **entry}
        if isinstance(entry, dict) and isinstance(entry.get("id"), str)
        else entry
        for entry in pool["models"]
    ]
    return {**pool, "models": entries}
