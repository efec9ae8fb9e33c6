from importlib import import_module

from django_safemigrate import Safe


class Migration(import_module("stock.migrations.0003_remove_name").Migration):
    safe = Safe.after_deploy()
