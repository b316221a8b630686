//! Files that load each other.

use crate::support::{Folder, code};

#[test]
fn only_the_program_itself_is_the_main_module() {
    let library = "module.exports = 'library';\nif (require.main === module) console.log('the library runs');";
    let folder = Folder::with(&[
        ("library.js", library),
        ("program.mjs", "import library from './library.js';\nconsole.log(library);"),
        (
            "program.js",
            "const library = require('./library.js');\nif (require.main === module) console.log('main', library);",
        ),
    ]);
    assert_eq!(folder.run("program.mjs").out, "library\n");
    assert_eq!(folder.run("program.js").out, "main library\n");
    assert_eq!(folder.run("library.js").out, "the library runs\n");
    assert_eq!(code("if (require.main === module) console.log('main');").out, "main\n");
}

#[test]
fn a_common_file_stays_one_whatever_its_texts_and_comments_say() {
    let library = "/*\nimport me with require\n*/\nmodule.exports = `\nexport default all\nawait it\n`;";
    let folder = Folder::with(&[
        ("library.js", library),
        ("by_import.mjs", "import text from './library.js';\nconsole.log(text.trim());"),
        ("by_require.js", "const text = require('./library.js');\nconsole.log(text.trim());\n/*\nimport x\n*/"),
    ]);
    for file in ["by_import.mjs", "by_require.js"] {
        let told = folder.run(file);
        assert_eq!(told.out, "export default all\nawait it\n", "{file}: {told:?}");
    }
}

#[test]
fn a_file_that_requires_and_waits_at_its_top_runs_as_a_module() {
    let waits = "const fs = require('fs');\nif (fs.existsSync) {\n  await null;\n  await (async () => 1)();\n  \
                 console.log('waited');\n}";
    let folder = Folder::with(&[("program.js", waits), ("importing.mjs", "import './program.js';")]);
    for file in ["program.js", "importing.mjs"] {
        let told = folder.run(file);
        assert_eq!(told.out, "waited\n", "{file}: {told:?}");
    }
}

#[test]
fn an_ecmascript_module_that_is_required_is_said_to_be_one_and_a_mistake_is_told_as_such() {
    let folder = Folder::with(&[
        ("module.js", "export const a = 1;"),
        ("waiting.js", "const a = await null;"),
        ("mistake.js", "let = = 1;\nmodule.exports = 1;"),
        ("one.js", "require('./module.js');"),
        ("two.js", "require('./waiting.js');"),
        ("three.js", "require('./mistake.js');"),
    ]);
    for file in ["one.js", "two.js"] {
        let told = folder.run(file);
        assert!(told.code == Some(1) && told.err.contains("is an ECMAScript module"), "{told:?}");
    }
    for file in ["three.js", "mistake.js"] {
        let told = folder.run(file);
        assert!(told.err.contains("SyntaxError") && !told.err.contains("is an ECMAScript module"), "{told:?}");
    }
}
