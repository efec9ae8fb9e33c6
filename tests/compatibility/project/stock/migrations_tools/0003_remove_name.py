from importlib import import_module

Migration = import_module("stock.migrations.0003_remove_name").Migration
