"""Prompts, which the client keeps as registered models with tags."""

import mlflow
from mlflow import MlflowClient
from seen import refused, seen

first = mlflow.genai.register_prompt(
    name="greeting", template="Hello {{name}}", commit_message="first", tags={"team": "blue"}
)
mlflow.genai.register_prompt(name="greeting", template="Good day {{name}}", commit_message="politer")
chat = [{"role": "system", "content": "Be {{mood}}"}, {"role": "user", "content": "{{question}}"}]
mlflow.genai.register_prompt(name="chat", template=chat)
seen("first", [first.name, first.version, first.template, sorted(first.variables)])


def prompt(found):
    return [found.name, found.version, found.template, found.commit_message, found.tags, sorted(found.aliases)]


seen("loaded", prompt(mlflow.genai.load_prompt("greeting", version=1)))
seen("latest", prompt(mlflow.genai.load_prompt("prompts:/greeting@latest")))
seen("chat", prompt(mlflow.genai.load_prompt("chat", version=1)))
seen("formatted", mlflow.genai.load_prompt("prompts:/greeting/2").format(name="Anna"))
mlflow.genai.set_prompt_alias("greeting", alias="production", version=1)
seen("by alias", prompt(mlflow.genai.load_prompt("prompts:/greeting@production")))
mlflow.genai.set_prompt_version_tag("greeting", 1, "checked", "yes")
mlflow.genai.set_prompt_tag("greeting", "language", "en")
seen("tags", mlflow.genai.get_prompt_tags("greeting"))
seen("tagged", prompt(mlflow.genai.load_prompt("greeting", version=1)))
seen("searched", sorted(p.name for p in mlflow.genai.search_prompts()))
seen("searched by name", [p.name for p in mlflow.genai.search_prompts(filter_string="name = 'chat'")])
client = MlflowClient()
seen("no models", [m.name for m in client.search_registered_models("name = 'greeting'")])
seen("versions", [v.version for v in client.search_prompt_versions("greeting")])
mlflow.genai.delete_prompt_alias("greeting", alias="production")
refused("alias gone", mlflow.genai.load_prompt, "prompts:/greeting@production")
client.delete_prompt_version("chat", "1")
client.delete_prompt("chat")
seen("left", sorted(p.name for p in mlflow.genai.search_prompts()))
seen("missing", mlflow.genai.load_prompt("nobody", allow_missing=True))
